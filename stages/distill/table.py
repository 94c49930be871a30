"""The table of a `distill`: the teacher, the best student, and the others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.config.methods import METHODS
from pipeline.system.markdown import markdown_table

DIGITS = 4  # of a score
SYMBOLS = {"temperature": "T", "alpha": "alpha", "beta": "beta", "lr": "lr"}  # options, as the table names them


@dataclass(frozen=True, kw_only=True)
class Row:
    """One model: `score` on the dev split by which the best is chosen, `test_score` on test rows if it was measured.

    `latency_ms` of one example, None for a depth that could not be measured.
    """

    model: str
    setting: str
    layers: int
    score: float | None
    test_score: float | None
    parameters: int
    latency_ms: float | None
    out: str


def model_name(method: str) -> str:
    """Return the name of a method as the table has it."""
    return METHODS[method].display_name


def setting_text(config: Mapping[str, Any]) -> str:
    """Return the options of a run that a search varies, without those that its method lacks: `T 5, lr 5e-05`."""
    named = ((symbol, config.get(name)) for name, symbol in SYMBOLS.items())
    return ", ".join(f"{symbol} {value:g}" for symbol, value in named if value is not None)


def table(rows: Sequence[Row], metric: str, conditions: str) -> str:
    """Return the rows in Markdown; the first is the teacher. `conditions` says how latency was measured."""
    tested = any(row.test_score is not None for row in rows)
    header = ["model", "setting", "layers", f"{metric} on dev", *([f"{metric} on test"] * tested)]
    lines = []
    for row in rows:
        scores = [_score(row.score), *([_score(row.test_score)] * tested)]
        ratio = _ratio(rows[0].latency_ms, row.latency_ms)
        taken = "–" if row.latency_ms is None else f"{row.latency_ms:.1f}"
        lines.append([row.model, row.setting, str(row.layers), *scores, f"{row.parameters / 1e6:.1f} M", taken, ratio])
    text = markdown_table([*header, "parameters", "ms per example", "speed"], lines)
    return f"{text}\n\nMilliseconds: {conditions}. Speed: against the teacher."


def rounded(score: float | None) -> float:
    """Return a score to the digits that the table shows; 0 without one."""
    return round(score or 0.0, DIGITS)


def _score(score: float | None) -> str:
    return "–" if score is None else f"{score:.{DIGITS}f}"


def _ratio(teacher: float | None, taken: float | None) -> str:
    return "–" if not teacher or not taken else f"{teacher / taken:.1f} ×"
