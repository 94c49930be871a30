"""The one place where speed is measured: a table, a line of JSON, and results/benchmark-WHAT.json."""

import os
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import torch

from pipeline.config.benchmark import BENCHMARKS, BenchmarkConfig
from pipeline.config.options import command_line
from pipeline.errors import BadOption
from pipeline.models.accelerator import resolve_precision
from pipeline.system.cpu import require_single_process
from pipeline.system.files import write_json
from pipeline.system.formatting import table
from pipeline.system.progress import note
from pipeline.training.provenance import environment, shareable
from stages.benchmarks import cache, peers, reader, scaling, startup, sweep, train
from stages.benchmarks.harness.measurements import Ratio, Series
from stages.benchmarks.harness.timing import Report

MEASURE: Mapping[str, Callable[[BenchmarkConfig], Report]] = {
    "train": train.measure,
    "peers": peers.measure,
    "cache": cache.measure,
    "reader": reader.measure,
    "startup": startup.measure,
    "growth": scaling.measure,
    "sweep": sweep.measure,
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
    or an --out that cannot be written, `MissingExtra` for a contender that is not installed.
    """
    require_single_process("benchmark")
    if config.device == "cuda" and not torch.cuda.is_available():
        raise BadOption("--device cuda: torch sees no GPU here. Leave it out for the default")
    names = BENCHMARKS if config.name == "all" else (config.name,)
    paths = {name: Path(config.out) / f"benchmark-{name}.json" for name in names}
    check_out(config.out, paths.values())
    started = time.monotonic()
    written: list[str] = []
    ratios: dict[str, dict[str, Any]] = {}
    measured: dict[str, dict[str, Any]] = {}
    machine = environment()
    for name, path in paths.items():
        note(f"\nbenchmark {name}")
        begun = time.monotonic()
        report = MEASURE[name](config)
        print(_text(name, report, config.quick), flush=True)
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
    return BenchmarkResult("benchmark", config.name, written, seconds, config.quick, device, ratios, measured)


def check_out(out: str, paths: Iterable[Path]) -> None:
    """Write into the directory once, and leave everything as it was. Raises `BadOption` where files cannot be put at
    these `paths` in it.
    """
    if not out:
        raise BadOption("--out is empty. Name a directory")
    missing = [place for place in (Path(out), *Path(out).parents) if not os.path.lexists(place)]
    try:
        Path(out).mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=out):
            pass
    except OSError as error:
        is_file = isinstance(error, FileExistsError | NotADirectoryError)
        reason = "a file is in the way" if is_file else error.strerror
        raise BadOption(f"--out {out} cannot be written ({reason}). Name another directory") from error
    finally:
        for place in missing:
            with suppress(OSError):  # not made, or another process has begun to use it
                place.rmdir()
    for path in paths:
        if path.is_dir():
            raise BadOption(f"--out {out} cannot be written ({path.name} in it is a directory). Name another directory")


def _series(series: Series) -> dict[str, Any]:
    """Its numbers to four digits, as JSON."""
    found = {"median": series.median, "low": series.low, "high": series.high}
    values = [float(f"{value:.4g}") for value in series.values]
    return {name: float(f"{value:.4g}") for name, value in found.items()} | {"unit": series.unit, "values": values}


def _ratio(ratio: Ratio) -> dict[str, Any]:
    asked = {"at_least": ratio.at_least, "at_most": ratio.at_most, "holds": ratio.holds, "goal": ratio.goal}
    return _series(ratio) | asked


def _text(name: str, report: Report, quick: bool) -> str:
    rows = [[s.what, _number(s.median), f"{_number(s.low)} – {_number(s.high)}", s.unit, ""] for s in report.series]
    rows += [
        [r.what, _number(r.median), f"{_number(r.low)} – {_number(r.high)}", r.unit, _asked(r, quick)]
        for r in report.ratios
    ]
    lines = [table([f"benchmark {name}", "median", "spread", "", "asked for"], rows), *report.notes]
    return "\n".join(lines) + "\n"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _asked(ratio: Ratio, quick: bool) -> str:
    """What was asked for, and whether it holds: a quick measurement is too small to tell."""
    if ratio.holds is None:
        return ""
    limit = f"at least {ratio.at_least:g}" if ratio.at_least is not None else f"at most {ratio.at_most:g}"
    verdict = "" if quick else ": holds" if ratio.holds else ": MISSED"
    return f"{limit}{' (goal)' if ratio.goal else ''}{verdict}"
