"""The command `benchmark`: measure speed, print a table and write results/benchmark-WHAT.json."""

import os
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import torch

from pipeline.config.benchmark import BENCHMARKS, INFERENCE, BenchmarkConfig
from pipeline.config.options import command_line
from pipeline.errors import BadOption, one_line
from pipeline.models.accelerator import resolve_precision
from pipeline.system.cpu import require_single_process
from pipeline.system.files import write_json
from pipeline.system.formatting import table
from pipeline.system.progress import note, show
from pipeline.training.provenance import environment, shareable
from stages.benchmarks import cache, inference, peers, reader, scaling, startup, sweep, train, transfer
from stages.benchmarks.harness.measurements import Ratio, Series
from stages.benchmarks.harness.timing import Report

MEASURE: Mapping[str, Callable[[BenchmarkConfig], Report]] = {
    "train": train.measure,
    "peers": peers.measure,
    "cache": cache.measure,
    "reader": reader.measure,
    "startup": startup.measure,
    "growth": scaling.measure,
    INFERENCE: inference.measure,
    "sweep": sweep.measure,
    "transfer": transfer.measure,
}


@dataclass(frozen=True)
class BenchmarkResult:
    """Files that were written, and every number in them."""

    command: str
    what: str
    out: list[str]
    seconds: float
    quick: bool
    device: str
    ratios: dict[str, dict[str, Any]]  # name -> median, low, high, and the limits
    measured: dict[str, dict[str, Any]]  # name -> median, low, high, unit


def run(config: BenchmarkConfig) -> BenchmarkResult:
    """Measure, print a table for each benchmark and write its results.

    Raises `BadOption` if there is no GPU for --device cuda or --out cannot be written, and `MissingExtra` for a
    contender that is not installed.
    """
    require_single_process("benchmark")
    if config.device == "cuda" and not torch.cuda.is_available():
        raise BadOption("--device cuda: torch sees no GPU here. Leave it out for the default")
    names = BENCHMARKS if config.name == "all" else (config.name,)
    paths = result_paths(config.out, names)
    check_out(config.out and str(next(iter(paths.values())).parent), paths.values())
    started = time.monotonic()
    machine = environment()
    ratios: dict[str, dict[str, Any]] = {}
    measured: dict[str, dict[str, Any]] = {}
    for name, path in paths.items():
        record = _measured(name, config) | {"environment": machine}
        write_json(path, record)
        ratios |= record["ratios"]
        measured |= record["measured"]
    seconds = round(time.monotonic() - started, 1)
    written, device = [str(path) for path in paths.values()], str(machine["device"])
    return BenchmarkResult("benchmark", config.name, written, seconds, config.quick, device, ratios, measured)


def _measured(name: str, config: BenchmarkConfig) -> dict[str, Any]:
    """Run one benchmark, print its table and return its record for the results file."""
    note(f"\nbenchmark {name}")
    started = time.monotonic()
    report = MEASURE[name](config)
    show(_text(name, report, config.quick))
    return {
        "command": command_line("benchmark", shareable(config)),
        "quick": config.quick,
        "precision": resolve_precision("auto"),
        "seconds": round(time.monotonic() - started, 1),
        "ratios": {ratio.name: _ratio(ratio) for ratio in report.ratios},
        "measured": {series.name: _series(series) for series in report.series},
        "notes": report.notes,
        "lines": {line.name: line.as_json() for line in report.lines},
        **report.records,
    }


def result_paths(out: str, names: tuple[str, ...]) -> dict[str, Path]:
    """Return the results file of each benchmark: in the directory `out`, or of a single one that file, FILE.json.

    Raises `BadOption` for one file for several.
    """
    if not out.endswith(".json") or Path(out).is_dir():
        return {name: Path(out) / f"benchmark-{name}.json" for name in names}
    if len(names) > 1:
        raise BadOption(
            f"--out {one_line(out)} is one file, and each of {', '.join(names)} writes its own. Name a directory"
        )
    return {names[0]: Path(out)}


def check_out(out: str, paths: Iterable[Path]) -> None:
    """Raise `BadOption` unless files can be written to these `paths` in the directory, which is left as it was."""
    missing = [directory for directory in (Path(out), *Path(out).parents) if not os.path.lexists(directory)]
    try:
        Path(out).mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=out):
            pass
    except OSError as error:
        is_file = isinstance(error, FileExistsError | NotADirectoryError)
        reason = "a file is in the way" if is_file else error.strerror
        raise BadOption(f"--out {out} cannot be written ({reason}). Name another directory") from error
    finally:
        for directory in missing:
            with suppress(OSError):  # it was not created, or another process uses it by now
                directory.rmdir()
    for path in paths:
        if path.is_dir():
            raise BadOption(f"--out {out} cannot be written ({path.name} in it is a directory). Name another directory")


def _series(series: Series) -> dict[str, Any]:
    """Return the numbers of a series to four digits, for JSON."""
    spread = {"median": series.median, "low": series.low, "high": series.high}
    values = [float(f"{value:.4g}") for value in series.values]
    return {name: float(f"{value:.4g}") for name, value in spread.items()} | {"unit": series.unit, "values": values}


def _ratio(ratio: Ratio) -> dict[str, Any]:
    limits = {"at_least": ratio.at_least, "at_most": ratio.at_most, "holds": ratio.holds, "goal": ratio.goal}
    return _series(ratio) | limits


def _text(name: str, report: Report, quick: bool) -> str:
    """Return the tables of a benchmark, with its notes below."""
    return "\n".join((report.text or _table(name, report, quick), *report.notes)) + "\n"


def _table(name: str, report: Report, quick: bool) -> str:
    """Return a table with a row for every series and ratio."""
    rows = [_row(series, "") for series in report.series] + [
        _row(ratio, _limit(ratio, quick)) for ratio in report.ratios
    ]
    return table([f"benchmark {name}", "median", "spread", "", "asked for"], rows)


def _row(series: Series, limit: str) -> list[str]:
    spread = f"{_number(series.low)} – {_number(series.high)}"
    return [series.name, _number(series.median), spread, series.unit, limit]


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _limit(ratio: Ratio, quick: bool) -> str:
    """Return the limit, and whether it holds: not for a quick measurement, which is too small to show it."""
    if ratio.holds is None:
        return ""
    limit = f"at least {ratio.at_least:g}" if ratio.at_least is not None else f"at most {ratio.at_most:g}"
    verdict = "" if quick else ": holds" if ratio.holds else ": MISSED"
    return f"{limit}{' (goal)' if ratio.goal else ''}{verdict}"
