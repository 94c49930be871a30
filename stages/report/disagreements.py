"""Examples on which a student and its teacher disagree, those first on which the student is surest."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.cache.format.columns import LOGITS
from pipeline.cache.format.manifest import Manifest
from pipeline.data.texts import decode_texts
from stages.report.blocks import Example
from stages.report.inputs import Distillation
from stages.report.student_run import StudentRun

MOST_LETTERS = 700  # of a text
NONE = "none of the classes"


@dataclass(frozen=True)
class Disagreements:
    """The number of examples of the dev split on which student and teacher disagree, and the first of them."""

    count: int
    mean_distance: float  # of scores
    examples: tuple[Example, ...]
    has_texts: bool


def disagreements(distillation: Distillation, run: StudentRun, most: int) -> Disagreements:
    """Return the disagreements of a run with its teacher, at most `most` of them as examples.

    Raises `BadRun` for a run without its model's settings.
    """
    cache, dev = distillation.cache, distillation.dev
    manifest, kind = cache.manifest, run.kind(cache)
    teacher, student = dev.column(LOGITS), kind.from_stored(run.logits(distillation.split))
    size = kind.contradiction(student, teacher, manifest.kind)
    order = np.argsort(-size, kind="stable")
    ids = order[: min(most, int((size > 0).sum()))]
    texts = _texts(manifest, dev, ids)
    labels = dev.labels[ids]
    has_label = kind.has_label(labels)
    has_classes = bool(manifest.task.labels)
    examples = []
    for place, number in enumerate(ids.tolist()):
        answers = [("label", *answer_text(manifest, labels[place], None))] if has_label[place] else []
        for model, model_kind, logits in (("student", kind, student[ids]), ("teacher", manifest.kind, teacher[ids])):
            probabilities = model_kind.probabilities(logits)[place] if has_classes else None
            answers.append((model, *answer_text(manifest, model_kind.predictions(logits)[place], probabilities)))
        examples.append(Example(number, tuple(texts[place]), tuple(answers)))
    return Disagreements(int((size > 0).sum()), float(size.mean()), tuple(examples), bool(manifest.text_names))


def answer_text(manifest: Manifest, predicted: Any, probabilities: np.ndarray | None) -> tuple[str, str]:
    """Return a prediction in words, and its probabilities; the second is empty where there are none."""
    names = manifest.task.labels
    if not names:
        return f"{float(predicted):.4g}", ""
    numbers = np.flatnonzero(predicted) if np.ndim(predicted) else [int(predicted)]
    answer = ", ".join(names[number] for number in numbers) or NONE
    if probabilities is None:
        return answer, ""
    listed = numbers if len(numbers) else [int(probabilities.argmax())]
    several = np.ndim(predicted) > 0
    parts = [f"{names[n]} {probabilities[n]:.1%}" if several else f"{probabilities[n]:.1%}" for n in listed]
    return answer, ", ".join(parts)


def _texts(manifest: Manifest, dev: Any, ids: np.ndarray) -> Sequence[list[tuple[str, str]]]:
    """Return the texts of these examples with the names of their columns, shortened; none where they are not kept."""
    names = manifest.text_names
    if not names or not len(ids):
        return [[] for _ in ids]
    rows = dev.rows(ids)
    columns = [decode_texts(rows.ragged(name)) for name in names]
    titles = _shown_names(manifest)
    return [[(titles[i], _shortened(column[place])) for i, column in enumerate(columns)] for place in range(len(ids))]


def _shown_names(manifest: Manifest) -> list[str]:
    """Return the names of the text columns for people: those of the rows where they are known."""
    columns, letters = list(manifest.task.text_columns), iter(manifest.task.labels)
    names = []
    for place, name in enumerate(manifest.text_names):
        if name.startswith("choice_"):
            names.append(f"choice {next(letters, '')}")
        else:
            names.append(columns[place] if place < len(columns) else f"text {place + 1}")
    return names


def _shortened(text: str) -> str:
    """Return a text on one line, of at most `MOST_LETTERS` letters."""
    line = " ".join(text[: 4 * MOST_LETTERS].split())
    return line if len(line) <= MOST_LETTERS and len(text) <= 4 * MOST_LETTERS else f"{line[:MOST_LETTERS]}…"
