"""The one place where speed is measured: a table, a line of JSON, and results/benchmark-WHAT.json."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pipeline.compute import resolve_precision, single_process
from pipeline.environment import environment, shareable
from pipeline.errors import BadOption
from pipeline.files import write_json
from pipeline.listing import table
from pipeline.progress import note
from pipeline.settings import command_line
from pipeline.timing import Ratio, Report, Series
from stages.benchmarks import cache, growth, peers, reader, startup, sweeping, train
from stages.configs import BENCHMARKS, BenchmarkConfig

MEASURE: Mapping[str, Callable[[BenchmarkConfig], Report]] = {
    "train": train.measure,
    "peers": peers.measure,
    "cache": cache.measure,
    "reader": reader.measure,
    "startup": startup.measure,
    "growth": growth.measure,
    "sweep": sweeping.measure,
}


@dataclass(frozen=True)
class BenchmarkResult:
    command: str
    what: str
    out: list[str]
    seconds: float
    quick: bool
    device: str
    ratios: dict[str, dict[str, Any]]  # what -> median, low, high, and what was asked for
    measured: dict[str, dict[str, Any]]  # what -> median, low, high, unit


def run(config: BenchmarkConfig) -> BenchmarkResult:
    """Measure, print a table for each benchmark and write its results. Raises `BadOption` for a GPU that is not there,
    or an --out that is a file, `MissingExtra` for a contender that is not installed."""
    single_process("benchmark")
    if config.device == "cuda" and not torch.cuda.is_available():
        raise BadOption("--device cuda: torch sees no GPU here. Leave it out for the default")
    if Path(config.out).exists() and not Path(config.out).is_dir():
        raise BadOption(f"--out {config.out} is a file. Name a directory")
    started = time.monotonic()
    written: list[str] = []
    ratios: dict[str, dict[str, Any]] = {}
    measured: dict[str, dict[str, Any]] = {}
    machine = environment()
    for name in BENCHMARKS if config.what == "all" else (config.what,):
        note(f"\nbenchmark {name}")
        begun = time.monotonic()
        report = MEASURE[name](config)
        print(_text(name, report), flush=True)
        path = Path(config.out) / f"benchmark-{name}.json"
        of_ratios = {found.what: _ratio(found) for found in report.ratios}
        of_series = {found.what: _series(found) for found in report.series}
        record = {
            "command": command_line("benchmark", shareable(config)),
            "quick": config.quick,
            "precision": resolve_precision("auto"),
            "seconds": round(time.monotonic() - begun, 1),
            "ratios": of_ratios,
            "measured": of_series,
            "notes": report.notes,
            "lines": {line.what: line.as_json() for line in report.lines},
            "environment": machine,
        }
        write_json(path, record)
        written.append(str(path))
        ratios |= of_ratios
        measured |= of_series
    seconds = round(time.monotonic() - started, 1)
    device = str(machine["device"])
    return BenchmarkResult("benchmark", config.what, written, seconds, config.quick, device, ratios, measured)


def _series(series: Series) -> dict[str, Any]:
    """Its numbers to four digits, as JSON."""
    found = {"median": series.median, "low": series.low, "high": series.high}
    values = [float(f"{value:.4g}") for value in series.values]
    return {name: float(f"{value:.4g}") for name, value in found.items()} | {"unit": series.unit, "values": values}


def _ratio(ratio: Ratio) -> dict[str, Any]:
    asked = {"at_least": ratio.at_least, "at_most": ratio.at_most, "holds": ratio.holds, "goal": ratio.goal}
    return _series(ratio) | asked


def _text(name: str, report: Report) -> str:
    rows = [[s.what, _number(s.median), f"{_number(s.low)} – {_number(s.high)}", s.unit, ""] for s in report.series]
    rows += [
        [r.what, _number(r.median), f"{_number(r.low)} – {_number(r.high)}", r.unit, _asked(r)] for r in report.ratios
    ]
    lines = [table([f"benchmark {name}", "median", "spread", "", "asked for"], rows), *report.notes]
    return "\n".join(lines) + "\n"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _asked(ratio: Series) -> str:
    if not isinstance(ratio, Ratio) or ratio.holds is None:
        return ""
    limit = f"at least {ratio.at_least:g}" if ratio.at_least is not None else f"at most {ratio.at_most:g}"
    return f"{limit}{' (goal)' if ratio.goal else ''}: {'holds' if ratio.holds else 'MISSED'}"
