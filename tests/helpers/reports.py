"""Invented students and caches, as a report compares them."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np

from pipeline.data.task_kinds import SINGLE_LABEL
from pipeline.data.task_metrics import TaskMetrics
from pipeline.training.student import StudentResult
from stages.report.inputs import Distillation
from stages.report.student_run import StudentRun

LABELS = np.arange(40) % 2
CLASSES = ("neg", "pos")


def logits(right: int) -> np.ndarray:
    """Logits of which the first `right` of the examples are right."""
    predicted = np.where(np.arange(len(LABELS)) < right, LABELS, 1 - LABELS)
    return SINGLE_LABEL.as_logits(predicted, 2).astype(np.float32)


def student(method: str, right: int, seed: int = 0, depth: int = 3, **options) -> StudentRun:
    """A run that has `right` of 40 examples right."""
    path = Path(f"runs/{method}-{depth}-{seed}-{'-'.join(map(str, options.values()))}")
    config = {"method": method, "student_layers": depth, "seed": seed, "data_seed": 0, "batch_size": 8, **options}
    metrics = {"dev": {"accuracy": right / len(LABELS)}}
    result = StudentResult(
        "train-student", str(path), 9.0, metrics, {"dev": 0.5}, 1000, 50.0, "1f2e", method, depth, [], 80, 20
    )
    record = {"config": config, "cache": "data/toy", "inputs": {"cache": "1f2e"}, "last": {"epoch": 2.0}, "steps": 25}
    return StudentRun(path, record, result, {"dev": logits(right)})


def distillation(*runs: StudentRun, teacher: int = 36, made=None) -> Distillation:
    """These runs from a cache whose teacher has `teacher` of 40 examples right."""
    made = {"seconds": 30.0, "computed_examples": 140, "computing_seconds": 14.0} if made is None else made
    columns = {"logits": logits(teacher)}
    dev = SimpleNamespace(labels=LABELS, column=columns.__getitem__)
    sizes = {"train": SimpleNamespace(examples=100), "dev": SimpleNamespace(examples=40)}
    manifest = SimpleNamespace(kind=SINGLE_LABEL, made=made, has_teacher=True, splits=sizes, teacher_files={})
    cache = SimpleNamespace(
        manifest=manifest, location="data/toy", splits={"dev": dev}, teacher=Path("data/toy/teacher")
    )
    return Distillation(cache, runs, TaskMetrics(SINGLE_LABEL, ("accuracy",), CLASSES), "dev")
