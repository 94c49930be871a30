"""The settings of the short search, as a space of `sweep`."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.cache.format.manifest import Manifest
from pipeline.config.distill import DistillConfig
from pipeline.config.options import default_of
from pipeline.config.training import FinetuneTeacherConfig, TrainStudentConfig
from pipeline.data.tasks import TRAIN, TRANSFER
from pipeline.system.digests import json_digest

LR = 5e-5
TWICE = 2 * LR  # short students take larger steps
FEW_STEPS = 160  # of a training on few rows; with fewer a new head does not learn its classes
MOST_EPOCHS = 20.0
FT, KD, PKD = "ft", "kd", "pkd-skip"
# With labels for all: the best of the paper's grid in docs/results.md. T, alpha and beta of FT have no meaning.
OF_LABELS: tuple[dict[str, Any], ...] = (
    {"method": FT, "lr": LR},
    {"method": KD, "temperature": 5.0, "alpha": 0.7, "lr": LR},
    {"method": PKD, "temperature": 5.0, "alpha": 0.7, "beta": 10.0, "lr": LR},
    {"method": FT, "lr": TWICE},
    {"method": KD, "temperature": 5.0, "alpha": 0.7, "lr": TWICE},
    {"method": PKD, "temperature": 5.0, "alpha": 0.7, "beta": 10.0, "lr": TWICE},
    {"method": KD, "temperature": 2.0, "alpha": 1.0, "lr": LR},
    {"method": PKD, "temperature": 5.0, "alpha": 0.5, "beta": 100.0, "lr": LR},
)
# With rows that only the teacher has an answer for: it alone is learned from (docs/results.md, few labels).
OF_TEACHER: tuple[dict[str, Any], ...] = (
    {"method": FT, "lr": LR},
    {"method": KD, "temperature": 1.0, "alpha": 1.0, "lr": LR},
    {"method": PKD, "temperature": 1.0, "alpha": 1.0, "beta": 10.0, "lr": LR},
    {"method": FT, "lr": TWICE},
    {"method": KD, "temperature": 1.0, "alpha": 1.0, "lr": TWICE},
    {"method": PKD, "temperature": 1.0, "alpha": 1.0, "beta": 10.0, "lr": TWICE},
    {"method": KD, "temperature": 2.0, "alpha": 1.0, "lr": LR},
    {"method": PKD, "temperature": 1.0, "alpha": 1.0, "beta": 100.0, "lr": LR},
)


@dataclass(frozen=True)
class ShortSearch:
    """The settings of a search over students of one depth."""

    depth: int
    common: Mapping[str, Any]
    settings: tuple[Mapping[str, Any], ...]

    @property
    def name(self) -> str:
        """The name of the search: the depth, and a digest of what it tries."""
        return f"{self.depth}-{json_digest([self.common, self.settings])[:8]}"

    def toml(self) -> str:
        """Return the search as a space of `sweep`: each setting is an alternative."""
        blocks = [list(_lines(self.common)), *(["[[either]]", *_lines(setting)] for setting in self.settings)]
        return "\n\n".join("\n".join(block) for block in blocks) + "\n"


def _lines(values: Mapping[str, Any]) -> Iterator[str]:
    for name, value in values.items():
        yield f"{name} = {json.dumps(value)}"  # numbers, true, and text without odd letters read alike in TOML


def short_search(config: DistillConfig, manifest: Manifest, depth: int) -> ShortSearch:
    """Return the first --trials settings that a cache has the examples, and a student of `depth` the layers, for."""
    labelled, examples = training_rows(manifest)
    chosen = [
        {**setting, "epochs": epochs(config, labelled if setting["method"] == FT else examples, TrainStudentConfig)}
        for setting in (OF_LABELS if labelled == examples else OF_TEACHER)
        if (labelled or setting["method"] != FT) and (depth > 1 or setting["method"] != PKD)
    ]
    shared = ("precision", "seed", "max_steps", "class_weights")
    values = {name: getattr(config, name) for name in shared}
    given = {name: value for name, value in values.items() if value != default_of(TrainStudentConfig, name)}
    return ShortSearch(depth, {"student_layers": depth, **given}, tuple(chosen[: config.trials]))


def training_rows(manifest: Manifest) -> tuple[int, int]:
    """Return how many examples there are to train on with a label, and how many altogether."""
    splits = [split for name, split in manifest.splits.items() if name in (TRAIN, TRANSFER)]
    return sum(split.labelled_examples for split in splits), sum(split.examples for split in splits)


def epochs(config: DistillConfig, rows: int, training: type[FinetuneTeacherConfig | TrainStudentConfig]) -> float:
    """Return --epochs, or the default of a training, and more where there are few rows."""
    if config.epochs is not None:
        return config.epochs
    batches = math.ceil(max(1, rows) / default_of(training, "batch_size"))
    return max(float(default_of(training, "epochs")), min(MOST_EPOCHS, float(math.ceil(FEW_STEPS / batches))))
