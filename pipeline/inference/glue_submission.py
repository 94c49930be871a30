"""The files of a GLUE submission: their names, their words for labels, and the test rows that they answer.

See https://gluebenchmark.com/faq: a header, then the number of each test row and its prediction.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.cache.open import open_caches
from pipeline.cache.reader import Cache
from pipeline.config.options import values_of
from pipeline.data.labels.labels import named_labels
from pipeline.data.rows.glue_files import glue_split
from pipeline.data.rows.rows import SplitRows
from pipeline.data.tables.places import name_of
from pipeline.data.tasks import TASKS, TEST, SplitSource, Task
from pipeline.data.texts import decode_texts
from pipeline.errors import BadOption, BadRows, one_line
from pipeline.inference.predictor import Predictor
from pipeline.system.progress import note

HEADER = "index\tprediction\n"
LOWEST, HIGHEST = 0.0, 5.0  # scores of STS-B
AX = SplitSource("test_diagnostic", "", "diagnostic.tsv")
AX_PLACES = ("diagnostic.tsv", "../diagnostic/diagnostic.tsv", "../AX/diagnostic.tsv", "../AX/AX.tsv")


@dataclass(frozen=True)
class SubmissionFile:
    """A file of a submission, and the number of rows in the official test set that it answers."""

    name: str
    rows: int


SUBMISSIONS: Mapping[str, Mapping[str, SubmissionFile]] = {  # task -> test split -> file
    "cola": {"test": SubmissionFile("CoLA.tsv", 1_063)},
    "sst2": {"test": SubmissionFile("SST-2.tsv", 1_821)},
    "mrpc": {"test": SubmissionFile("MRPC.tsv", 1_725)},
    "stsb": {"test": SubmissionFile("STS-B.tsv", 1_379)},
    "qqp": {"test": SubmissionFile("QQP.tsv", 390_965)},
    "mnli": {
        "test_matched": SubmissionFile("MNLI-m.tsv", 9_796),
        "test_mismatched": SubmissionFile("MNLI-mm.tsv", 9_847),
        AX.name: SubmissionFile("AX.tsv", 1_104),
    },
    "qnli": {"test": SubmissionFile("QNLI.tsv", 5_463)},
    "rte": {"test": SubmissionFile("RTE.tsv", 3_000)},
    "wnli": {"test": SubmissionFile("WNLI.tsv", 146)},
}
FILES = tuple(file.name for files in SUBMISSIONS.values() for file in files.values())
WORDS = ("mnli", "qnli", "rte")  # tasks whose predictions are the names of classes; others have their numbers


def answers(task: Task, predictions: np.ndarray, labels: tuple[str, ...]) -> list[str]:
    """Return predictions as a submission has them; `labels` are the classes in the order of the model.

    Words or numbers of classes in the order of GLUE; scores from 0 to 5 with three decimals.
    """
    if not task.labels:
        return [f"{score:.3f}" for score in np.clip(predictions.astype(np.float64), LOWEST, HIGHEST)]
    names = named_labels(predictions, labels)
    return names if task.name in WORDS else [str(task.labels.index(name)) for name in names]


def write_submission(path: Path, predictions: list[str]) -> None:
    """Write a file of a submission. Raises OSError."""
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(HEADER)
        file.writelines(f"{index}\t{prediction}\n" for index, prediction in enumerate(predictions))


def rows_of_files(task: Task, directory: Path) -> dict[str, SplitRows]:
    """Return the test splits in the official files of a task; those of the diagnostics beside MNLI if they are there.

    Raises `BadRows` for files that are missing or cannot be read.
    """
    sources = [source for source in task.splits if source.role == TEST]
    if missing := [source.file for source in sources if not (directory / source.file).is_file()]:
        raise BadRows(
            f"--data-dir {name_of(str(directory))} has no {', '.join(missing)}. Give the directory of the official "
            f"{task.name} files of GLUE"
        )
    splits = {source.name: glue_split(task, source, str(directory / source.file)) for source in sources}
    if AX.name in SUBMISSIONS[task.name]:
        place = next((directory / name for name in AX_PLACES if (directory / name).is_file()), None)
        if place is None:
            note(f"AX.tsv is left out: the diagnostic rows ({AX.file}) are not in {name_of(str(directory))}")
        else:
            splits[AX.name] = glue_split(_diagnostics(task), AX, str(place))
    return splits


def _diagnostics(task: Task) -> Task:
    """Return the task with the columns of the diagnostic file."""
    return replace(task, file_columns=("sentence1", "sentence2"))


def rows_of_cache(task: Task, cache: Cache) -> dict[str, SplitRows]:
    """Return the test splits of a cache, from its texts, of which every byte is verified; empty where it has none."""
    names = cache.manifest.text_names
    tests = [name for name in cache.splits if name in SUBMISSIONS[task.name]]
    if not names or not tests:
        return {}
    with cache.check_in_background({name: names for name in tests}) as check:
        check.wait()
        return {name: _texts(task, cache, name) for name in tests}


def _texts(task: Task, cache: Cache, split: str) -> SplitRows:
    shards = cache.splits[split].shards
    texts = tuple(
        [text for shard in shards for text in decode_texts(shard[name])]  # type: ignore[arg-type]
        for name in cache.manifest.text_names
    )
    return SplitRows(texts, task.kind.without_labels(len(texts[0]), task.num_logits), labelled=False)


def submission_rows(
    predictor: Predictor, data_dir: str | None, cache: Any, allow_changed: bool
) -> dict[str, SplitRows]:
    """Return the test splits of a predictor's task: of `data_dir`, of `cache`, or of where its training found them.

    Raises `BadOption` for another task than those of GLUE, and where there are no test rows; `BadRows` for rows that
    are not as many as the official ones, unless `allow_changed`.
    """
    task = _submission_task(predictor)
    values = predictor.source.values
    recorded = values["rows"].get("data_dir") if isinstance(values.get("rows"), dict) else None
    caches = [str(name) for name in values_of(cache) or values_of(values.get("cache"))]
    splits: dict[str, SplitRows] = {}
    if data_dir or (not cache and isinstance(recorded, str) and Path(recorded).is_dir()):
        splits = rows_of_files(task, Path(str(data_dir or recorded)))
    elif caches and (cache or all("://" in name or Path(name).is_dir() for name in caches)):
        splits = rows_of_cache(task, open_caches(caches))
    if not splits:
        raise BadOption(
            f"--glue predicts the official test rows of {task.name}, which are not at hand. Give --data-dir DIR with "
            "the official files"
        )
    for name, rows in splits.items():
        _check_count(SUBMISSIONS[task.name][name], len(rows), allow_changed)
    return splits


def _check_count(file: SubmissionFile, rows: int, allowed: bool) -> None:
    if rows != file.rows:
        fact = f"{file.name} would have {rows:,} rows, and the official test set has {file.rows:,}"
        if not allowed:
            raise BadRows(f"{fact}. Use the official files, or write it with --allow-changed-rows")
        note(f"warning: {fact}")


def _submission_task(predictor: Predictor) -> Task:
    """Return the task of a predictor, which submissions have files of. Raises `BadOption` for another."""
    name, place = predictor.record.task, predictor.source.directory
    if not name:
        raise BadOption(f"{place} does not say of which task it is. Name its cache with --cache")
    if name not in SUBMISSIONS:
        raise BadOption(
            f"--glue writes files of the tasks of GLUE ({', '.join(SUBMISSIONS)}), and {place} is of {one_line(name)}. "
            "Use --file and --out"
        )
    task = TASKS[name]
    if set(predictor.labels) != set(task.labels) or len(predictor.text_columns) != len(task.text_columns):
        raise BadOption(f"{place} has other labels or texts than {name} of GLUE. Use --file and --out")
    return task


def missing_files(directory: Path) -> list[str]:
    """Return the files of a whole submission that a directory lacks."""
    return [name for name in FILES if not (directory / name).is_file()]
