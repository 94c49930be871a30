"""Predict with a finished run or an export: rows of files, lines of stdin, or the files of a GLUE submission."""

import os
import shlex
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.config.options import values_of
from pipeline.config.predict import STDIN, PredictConfig
from pipeline.data.rows.rows import SplitRows
from pipeline.data.tables.columns import parse_columns
from pipeline.data.tables.table_writers import ENDINGS
from pipeline.data.tables.whole_row_writers import json_line, write_whole_rows
from pipeline.data.tasks import TASKS
from pipeline.errors import BadOption, one_line
from pipeline.inference.chunk_logits import Work, chunk_logits, identity_of, texts_digest
from pipeline.inference.glue_submission import (
    SUBMISSIONS,
    answers,
    missing_files,
    submission_rows,
    write_submission,
)
from pipeline.inference.input_rows import CHUNK_ROWS, InputRows, check_names
from pipeline.inference.line_stream import STREAM, batches_of_lines, read_lines
from pipeline.inference.partial_logits import PartialLogits, check_absent
from pipeline.inference.prediction_columns import PredictionColumns
from pipeline.inference.predictor import Predictor, load_predictor
from pipeline.system.cpu import require_single_process
from pipeline.system.progress import note


@dataclass(frozen=True)
class PredictResult:
    """The result of `predict`. Seconds are those of the whole call, examples per second those of the model."""

    command: str
    out: str
    rows: int
    seconds: float
    examples_per_second: float
    labels: list[str]
    bytes: int
    files: list[str]


def run(config: PredictConfig) -> PredictResult:
    """Predict, and write the result, complete or not at all. Raises a `DistillError`."""
    require_single_process("predict")
    started = time.monotonic()
    way = _way(config)
    predictor = load_predictor(
        config.run,
        text_columns=parse_columns(config.text_columns) if config.text_columns else (),
        choices_columns=parse_columns(config.choices_columns) if config.choices_columns else (),
        max_length=config.max_length,
        cache=config.cache,
        precision=config.precision,
    )
    work = Work()
    files = way(config, predictor, work)
    return PredictResult(
        "predict",
        str(config.glue or config.out or STDIN),
        work.rows,
        round(time.monotonic() - started, 2),
        work.examples_per_second,
        list(predictor.labels),
        sum(file.stat().st_size for file in files),
        [str(file) for file in files],
    )


def _way(config: PredictConfig) -> Any:
    """Return the function for what the options ask for. Raises `BadOption` for options that do not fit together."""
    files = values_of(config.file)
    if bool(files) == bool(config.glue):
        raise BadOption("give --file FILE and --out FILE, or --file -, or --glue DIR")
    if config.glue:
        if given := [name for name in ("out", "text_columns", "prefix") if getattr(config, name)]:
            raise BadOption(f"--{given[0].replace('_', '-')} does not go with --glue. Leave it out")
        return _predict_glue
    if config.data_dir or config.allow_changed_rows:
        option = "--data-dir" if config.data_dir else "--allow-changed-rows"
        raise BadOption(f"{option} belongs to --glue DIR. Leave it out, or give --glue in place of --file")
    if STDIN in files:
        if len(files) > 1 or config.out:
            raise BadOption("--file - reads stdin alone, and writes to stdout. Leave the other files and --out out")
        return _predict_lines
    if not config.out:
        raise BadOption("--file needs --out FILE, which ends in .csv, .jsonl or .parquet")
    out = Path(config.out)
    if out.suffix not in ENDINGS:
        raise BadOption(f"--out {one_line(out)} does not end in {', '.join(ENDINGS)}. Give it one of these endings")
    check_absent(out)
    if not out.parent.is_dir():
        raise BadOption(f"--out {one_line(out)}: there is no directory {one_line(out.parent)}. Make it first")
    return _predict_files


def _predict_files(config: PredictConfig, predictor: Predictor, work: Work) -> list[Path]:
    """Write the rows of --file with predictions to --out, which is returned."""
    out = Path(str(config.out))
    columns = PredictionColumns(predictor.kind, predictor.labels, out.suffix, config.prefix or "")
    rows = InputRows.from_files(values_of(config.file), predictor)
    survey = rows.survey(columns.names, out.suffix)
    kept = PartialLogits(out, identity_of(predictor, survey.digest, config.batch_size))

    def write(path: Path) -> None:
        pairs = chunk_logits(rows.chunks(), survey.rows, predictor, kept, config.batch_size, work)
        parts = ((part, columns.values(logits)) for part, logits in pairs)
        write_whole_rows(path, columns.ending, survey.layout, columns.types(), parts, columns.metadata)

    with kept.claimed():
        kept.publish({out: write})
    return [out]


def _predict_glue(config: PredictConfig, predictor: Predictor, work: Work) -> list[Path]:
    """Write the files of the run's task to --glue, all at once, and return them."""
    directory = Path(str(config.glue))
    splits = submission_rows(predictor, config.data_dir, config.cache, config.allow_changed_rows)
    task = TASKS[predictor.record.task]
    files = {name: directory / SUBMISSIONS[task.name][name].name for name in splits}
    for file in files.values():
        check_absent(file, "--glue")
    digest = texts_digest(column for rows in splits.values() for column in rows.texts)
    kept = PartialLogits(directory / task.name, identity_of(predictor, digest, config.batch_size))
    total = sum(map(len, splits.values()))
    with kept.claimed():
        logits: dict[str, list[np.ndarray]] = {name: [] for name in splits}
        for name, values in chunk_logits(_chunks(splits), total, predictor, kept, config.batch_size, work):
            logits[name].append(values)
        predicted = {name: predictor.kind.predictions(np.concatenate(parts)) for name, parts in logits.items()}
        lines = {name: answers(task, values, predictor.labels) for name, values in predicted.items()}
        kept.publish({files[name]: partial(write_submission, predictions=lines[name]) for name in splits})
    if missing := missing_files(directory):
        note(f"{directory} does not have all files of a submission yet: {', '.join(missing)}")
    else:
        note(f"{directory} is ready to zip: cd {shlex.quote(str(directory))} && zip submission.zip *.tsv")
    return list(files.values())


def _chunks(splits: Mapping[str, SplitRows]) -> Iterator[tuple[SplitRows, str]]:
    """Yield the rows of all splits, at most `CHUNK_ROWS` at a time, with the name of their split."""
    for name, rows in splits.items():
        for start in range(0, len(rows), CHUNK_ROWS):
            yield rows.taken(np.arange(start, min(start + CHUNK_ROWS, len(rows)))), name


def _predict_lines(config: PredictConfig, predictor: Predictor, work: Work) -> list[Path]:
    """Write a JSON line to stdout for each line of stdin, as soon as its batch is done."""
    columns = PredictionColumns(predictor.kind, predictor.labels, ".jsonl", config.prefix or "")
    for lines in batches_of_lines(sys.stdin.buffer, config.batch_size):
        objects, rows = read_lines(lines, predictor)
        check_names(tuple(name for row in objects for name in row), columns.names, ".csv", STREAM)
        new = columns.values(work.compute(predictor, rows, config.batch_size))
        answered = zip(objects, zip(*new.values(), strict=True), strict=True)
        try:
            sys.stdout.writelines(json_line(row | dict(zip(new, values, strict=True))) for row, values in answered)
            sys.stdout.flush()
        except BrokenPipeError:  # whoever reads has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            break
    return []
