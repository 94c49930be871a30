"""A finished run or an export, opened to be measured on other rows than those of its training."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from pipeline.config.evaluation import EvaluateConfig
from pipeline.data.metrics import check_metric
from pipeline.data.rows.choices import ChoiceRows
from pipeline.data.rows.rows import SplitRows
from pipeline.data.splits import TEXT_HASH, Split
from pipeline.data.tables.columns import parse_columns
from pipeline.data.task_metrics import TaskMetrics
from pipeline.data.texts import text_columns
from pipeline.inference.labelled_rows import of_role, rows_of_files, rows_of_task
from pipeline.inference.predictor import Predictor, load_predictor
from pipeline.training.measured_run import MeasuredRun, Outputs


def open_model(config: EvaluateConfig, name: str) -> MeasuredRun:
    """Return one of the runs of `evaluate`, to be measured on --file or --task. Raises a `DistillError`.

    The model is loaded again to predict: of several runs one is in memory at a time, each in its own precision.
    """

    def load() -> Predictor:
        return load_predictor(
            name,
            text_columns=_columns(config.text_columns),
            choices_columns=_columns(config.choices_columns),
            cache=config.cache,
            precision=config.precision,
        )

    predictor = load()
    rows = rows_of_files(config, predictor) if config.file else rows_of_task(config, predictor)
    chosen = rows if config.file else of_role(rows, config.split)

    def outputs() -> Outputs:
        model = load()
        return Outputs({split: model.logits(part) for split, part in chosen.items()})

    splits = {split: _split(split, part) for split, part in chosen.items()}

    def texts(split: str) -> np.ndarray:
        return splits[split].column(TEXT_HASH)

    return MeasuredRun(name, _metrics(predictor), splits, texts, outputs)


def _columns(option: str | None) -> tuple[str, ...]:
    return parse_columns(option) if option else ()


def _split(name: str, rows: SplitRows) -> Split:
    """Return the texts and labels of rows, without tokens."""
    choices = rows.choices if isinstance(rows, ChoiceRows) else ()
    return Split(name, [{"label": rows.labels, **text_columns(rows.texts, choices)}], True)


def _metrics(predictor: Predictor) -> TaskMetrics:
    """Return the metrics of the training, in its order: those of the kind where they are not known."""
    kind, labels = predictor.kind, predictor.labels
    classes = labels if kind.has_classes else ()
    names = [name for name in _recorded(predictor.source.values) if _fits(predictor, classes, name)]
    return TaskMetrics(kind, tuple(names) or kind.metrics(predictor.num_logits), labels)


def _fits(predictor: Predictor, classes: tuple[str, ...], name: str) -> bool:
    try:
        check_metric(predictor.kind, classes, name)
    except ValueError:
        return False
    return True


def _recorded(values: Mapping[str, Any]) -> list[str]:
    """Return the names of the metrics that a run or an export has."""
    result = values.get("result") if isinstance(values.get("result"), Mapping) else {}
    for metrics in ((result or {}).get("metrics"), values.get("metrics_before")):
        for measured in metrics.values() if isinstance(metrics, Mapping) else ():
            if isinstance(measured, Mapping):
                return [name for name in measured if isinstance(name, str)]
    return []
