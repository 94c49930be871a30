"""Benchmark `transfer`: the memory of `cache-teacher` on more and more sentences without labels, and their reading."""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.config.benchmark import BenchmarkConfig
from pipeline.config.rows import CacheRowsConfig
from pipeline.data.rows.sources import load_rows
from pipeline.data.spool import Spool
from pipeline.data.task_kinds import SINGLE_LABEL
from pipeline.data.tasks import TRANSFER
from pipeline.data.tokenize import tokenize_rows
from pipeline.models.checkpoints import Head, build_classifier, load_tokenizer, locate
from pipeline.system.progress import bar
from pipeline.teacher.preflight import check_space
from stages.benchmarks.harness.measurements import Series, difference, ratio
from stages.benchmarks.harness.process_memory import RESIDENT, peak_of
from stages.benchmarks.harness.synthetic import SHARD_ROWS
from stages.benchmarks.harness.timing import Contender, Measured, Pace, Report, interleave

ROWS, QUICK_ROWS = (100_000, 1_000_000), (2_000, 20_000)
ROW_BYTES = 1000  # on disk, at most: of the text, the tokens and the shards of a sentence
LABELLED_ROWS = 64  # of train, and of dev
FEWEST_WORDS, MOST_WORDS = 5, 15  # of a sentence
MAX_LENGTH = 32  # tokens
LABELS = ("negative", "positive")
LAYERS, WIDTH = 2, 32  # of the teacher
WRITTEN_AT_ONCE = 10_000  # sentences
AT_MOST = 1000.0  # MB above the peak without these sentences
READING = "read, tokenised and kept"


def measure(config: BenchmarkConfig) -> Report:
    """Measure the peak memory at each number of sentences, then the reading of the fewest. Raises `BadCache`."""
    sizes = QUICK_ROWS if config.quick else ROWS
    check_space(Path(tempfile.gettempdir()), sizes[-1] * ROW_BYTES, "TMPDIR", "try --quick")
    with tempfile.TemporaryDirectory(prefix="pkd-benchmark-") as name:
        directory = Path(name)
        write_teacher_and_rows(directory, sizes)
        pace = Pace(2 if config.quick else config.rounds, 0.0)  # all the sentences in each round
        (rate,) = interleave({READING: Contender(reading, name, sizes[0])}, pace, "benchmark transfer").values()
        memory = _memory(directory, sizes)
    read = Series(f"sentences {READING} (of {sizes[0]:,})", "rows/s", rate.values)
    note = (
        f"sentences of {FEWEST_WORDS} to {MOST_WORDS} words; a teacher of {LAYERS} layers, {WIDTH} wide, "
        f"which computes all of them; shards of {SHARD_ROWS:,}; peak memory is the process's largest resident set, "
        "pages of mapped files included, sampled every 50 ms, once for each number of sentences"
    )
    return Report((read, *memory.series), memory.ratios, (note, *memory.notes))


def _memory(directory: Path, sizes: tuple[int, ...]) -> Report:
    """Measure the peak memory of `cache-teacher` without sentences, and with each number of them."""
    if not sys.platform.startswith("linux"):
        return Report((), (), ("the memory of cache-teacher is not measured here: only Linux reports it",))
    peaks = []
    with bar(1 + len(sizes), "benchmark transfer, memory", "cache") as progress:
        for rows in (0, *sizes):
            peaks.append(Series(f"peak memory of cache-teacher, {rows:,} sentences", "MB", (peak(directory, rows),)))
            progress.update()
    reference, *larger = peaks
    above = (
        difference(f"peak memory above the model's, {rows:,} sentences", series, reference, at_most=AT_MOST)
        for rows, series in zip(sizes, larger, strict=True)
    )
    growth = ratio(f"peak memory, {sizes[-1]:,} / {sizes[0]:,} sentences", larger[-1], larger[0])
    return Report(tuple(peaks), (*above, growth))


def peak(directory: Path, rows: int) -> float:
    """Return the peak memory of `cache-teacher` in MB, with this number of sentences. Raises RuntimeError."""
    config = rows_config(directory, rows)
    words = ["cache-teacher", "--teacher", str(directory / "teacher"), "--allow-weak-teacher"]
    for name in ("task", "train_file", "dev_file", "text_columns", "label_column", "max_length", "unlabelled_file"):
        if (value := getattr(config, name)) is not None:
            words += [f"--{name.replace('_', '-')}", str(value)]
    cache = directory / f"cache-{rows}"
    return peak_of([*words, "--cache", str(cache)], RESIDENT, cache.with_suffix(".txt"), directory / "store")


def rows_config(directory: Path, rows: int) -> CacheRowsConfig:
    """Return the options that name the labelled rows, and `rows` sentences without labels."""
    return CacheRowsConfig(
        task="sentences",
        train_file=str(directory / "train.csv"),
        dev_file=str(directory / "dev.csv"),
        unlabelled_file=str(_sentences(directory, rows)) if rows else None,
        text_columns="sentence",
        label_column="label",
        max_length=MAX_LENGTH,
    )


def reading(directory: str, rows: int) -> Callable[[int], Measured]:
    """Read the sentences as `cache-teacher` does: parsed, compared with dev, tokenised, hashed, kept on disk."""
    tokenizer = load_tokenizer(locate("demo"))
    config = rows_config(Path(directory), rows)

    def run(_work: int) -> Measured:
        started = time.perf_counter()
        task_rows = load_rows(config)
        spool = Spool(Path(directory) / "cache")
        splits = tokenize_rows(task_rows, LABELS, tokenizer, MAX_LENGTH, SHARD_ROWS, spool, texts=True)
        return {READING: (len(splits[TRANSFER]), time.perf_counter() - started)}

    return run


# --- what is read --------------------------------------------------------------------------------------------


def write_teacher_and_rows(directory: Path, sizes: tuple[int, ...]) -> None:
    """Write a teacher of random weights, labelled rows, and a file for each number of sentences.

    Raises `MissingExtra` if the packaged tokenizer is not installed.
    """
    import torch
    from transformers import BertConfig

    tokenizer = load_tokenizer(locate("demo"))
    shape = dict(hidden_size=WIDTH, num_hidden_layers=LAYERS, num_attention_heads=2, intermediate_size=2 * WIDTH)
    config = BertConfig(vocab_size=len(tokenizer), **shape)
    Head(len(LABELS), LABELS, SINGLE_LABEL.problem_type).configure(config)
    torch.manual_seed(0)
    model: Any = build_classifier(config)
    model.save_pretrained(directory / "teacher")
    tokenizer.save_pretrained(directory / "teacher")
    words = np.array(sorted(word for word in tokenizer.get_vocab() if word.isascii() and word.isalpha()))
    for seed, name in enumerate(("train.csv", "dev.csv")):
        _write(directory / name, words, LABELLED_ROWS, seed, LABELS)
    for seed, rows in enumerate(sizes, start=2):
        _write(_sentences(directory, rows), words, rows, seed)


def _sentences(directory: Path, rows: int) -> Path:
    return directory / f"sentences-{rows}.csv"


def _write(path: Path, words: Any, rows: int, seed: int, labels: tuple[str, ...] = ()) -> None:
    """Write sentences of random words, with the labels in turn if there are any."""
    draw = np.random.default_rng(seed)
    with path.open("w", encoding="utf-8") as file:
        file.write("sentence,label\n" if labels else "sentence\n")
        for first in range(0, rows, WRITTEN_AT_ONCE):
            lengths = draw.integers(FEWEST_WORDS, MOST_WORDS + 1, min(WRITTEN_AT_ONCE, rows - first))
            chosen = iter(words[draw.integers(0, len(words), lengths.sum())].tolist())
            for row, length in enumerate(lengths.tolist()):
                label = f",{labels[row % len(labels)]}" if labels else ""
                file.write(" ".join(next(chosen) for _ in range(length)) + label + "\n")
