"""A spot check: the teacher in a cache runs again on some of its rows."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.cache.format.columns import LOGITS, cls_column
from pipeline.cache.format.manifest import TEACHER, Manifest
from pipeline.cache.reader import Cache
from pipeline.cache.teacher_config import check_teacher_config
from pipeline.distillation.layer_probes import by_sequence, normalised
from pipeline.models.accelerator import make_accelerator
from pipeline.models.checkpoints import load_classifier
from pipeline.system.cpu import available_cores
from pipeline.teacher.forward import teacher_pass

# Largest difference of a logit, relative to the largest logit of the rows or 1, and largest ‖ĥ − ĥ'‖ of a normalised
# [CLS]: a row has other neighbours and another padding here than when it was cached, so sums are rounded differently.
TOLERANCE = {"float32": 1e-3, "bfloat16": 0.1}


@dataclass(frozen=True)
class Sample:
    """The largest differences of `rows` stored rows from the teacher's outputs; `worst` is the row with the largest."""

    rows: int
    logits: float
    cls: float
    tolerance: float
    worst: str

    @property
    def agrees(self) -> bool:
        """Return whether all differences are within the tolerance."""
        return max(self.logits, self.cls) <= self.tolerance


def sample(cache: Cache, directory: Path, count: int, seed: int) -> Sample:
    """Compare `count` rows drawn from all splits with the outputs of the teacher in the cache."""
    manifest: Manifest = cache.manifest
    sizes = {name: record.examples for name, record in manifest.splits.items()}
    total = sum(sizes.values())
    drawn = np.sort(np.random.default_rng(seed).choice(total, min(count, total), replace=False))
    check_teacher_config(directory / TEACHER, manifest)
    model = load_classifier(str(directory / TEACHER), safetensors_only=True)
    worst = {"logits": (0.0, ""), "cls": (0.0, "")}
    first = 0
    with teacher_pass(model, make_accelerator(manifest.fields.compute), manifest, available_cores()) as running:
        for name, size in sizes.items():
            ids = drawn[(drawn >= first) & (drawn < first + size)] - first
            first += size
            if not len(ids):
                continue
            outputs = running.outputs(cache.splits[name], ids)
            stored = cache.splits[name].gather("logits", ids)
            differences = {"logits": np.abs(outputs[LOGITS] - stored).max(1) / max(1.0, float(np.abs(stored).max()))}
            for layer in manifest.layers:
                stored_cls = cache.splits[name].gather(cls_column(layer), ids)
                distance = _distance(outputs[cls_column(layer)], stored_cls, manifest.fields.sequences)
                differences["cls"] = np.maximum(differences.get("cls", distance), distance)
            for kind, values in differences.items():
                index = int(values.argmax())
                worst[kind] = max(worst[kind], (float(values[index]), f"{name}, example {ids[index]}"))
    (logits, logits_row), (cls, cls_row) = worst["logits"], worst["cls"]
    tolerance = TOLERANCE[manifest.fields.compute]
    return Sample(len(drawn), logits, cls, tolerance, logits_row if logits > cls else cls_row)


def _distance(ours: np.ndarray, stored: np.ndarray, sequences: int) -> np.ndarray:
    """Return ‖ĥ − ĥ'‖ of each row of two [CLS] columns [n, S·H]: the largest of its sequences, [n]."""
    difference = normalised(by_sequence(ours, sequences)) - normalised(by_sequence(stored, sequences))
    largest: np.ndarray = np.linalg.norm(difference, axis=1).reshape(len(ours), sequences).max(axis=1)
    return largest
