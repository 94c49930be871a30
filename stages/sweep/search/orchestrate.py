"""A whole sweep, on an engine: what is tried, by which strategy, and what comes of it."""

import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.config.options import command_line
from pipeline.config.sweep import SweepConfig
from pipeline.errors import BadOption, BadRun, shell_line
from pipeline.system.digests import json_digest
from pipeline.system.interrupts import stop_requests
from pipeline.system.progress import note
from stages.sweep.execution.local import Engine
from stages.sweep.report import leaderboard
from stages.sweep.report.page import write_page
from stages.sweep.report.terminal import view
from stages.sweep.search.bayes import bayes
from stages.sweep.search.directory import PAGE, SweepDirectory
from stages.sweep.search.estimate import Estimate, estimate, text
from stages.sweep.search.packing import packed
from stages.sweep.search.record import FAILED, FINISHED, PRUNED
from stages.sweep.search.search import Search
from stages.sweep.search.space import Space, read_space
from stages.sweep.search.strategies import Strategy, finite, grid, halving, rehearsed, staged
from stages.sweep.search.study import Study, categories, distributions
from stages.sweep.search.trials import Trial, Trials


@dataclass(frozen=True)
class SweepResult:
    command: str
    out: str
    trials: int
    finished: int
    pruned: int
    failed: int
    reused: int  # complete before this call
    teacher_forwards: int
    best: dict[str, Any] | None  # config, metrics, out
    seconds: float
    training_seconds: float  # of the trials of this call, from the cache being opened to the run being written
    examples_trained: int  # in this call


def search(config: SweepConfig, starting: AbstractContextManager[Engine], started: float) -> SweepResult | Estimate:
    """As `stages.sweep.run`. The engine is entered once all is checked; `started` is when the command was, by the
    monotonic clock.
    """
    space, trials = read_space(config.space, config.cache), Trials(config)
    listed = _listed(config, space, trials)
    metric = trials.metric()
    tried = rehearsed(_fixed(config, trials, listed))
    times = config.trials if config.strategy == "bayes" else 1
    pack = packed(config.pack, listed[0], trials, measure=not config.dry_run)
    if config.dry_run:
        found = estimate(tried, trials, times)
        print(text([trial for trial, _ in tried.values()], found))
        return found
    about = _about(config, space, trials, metric, times * len(tried))
    directory = SweepDirectory(Path(config.out or _default_out(about)))
    with directory.claimed(about):
        note(f"{directory.path}: see how far it is with: {shell_line('sweep', 'status', directory.path)}")
        study = Study(directory.path, write=True)
        before, _, _ = directory.progress()
        with stop_requests() as stop, view(directory, study, before) as changed, starting as engine:
            if config.strategy == "bayes":
                of = distributions(space)
                strategy = bayes(
                    study, trials, space, config.trials, config.seed, engine.slots * pack, config.retry_failed
                )
            else:
                of = categories([trial.shown for trial in listed], ("kd",) if config.strategy == "staged" else ())
                strategy = _fixed(config, trials, listed)
            searching = Search(study, of, engine, stop, changed, config.retry_failed, pack)
            searching.run(strategy)
        seconds = time.monotonic() - started
        directory.write_progress(before + seconds, {}, finished=True)
        record = directory.record(study, {}, before + seconds, finished=True)
        write_page(record, directory.path / PAGE)
    if not record.count(FINISHED) and record.count(FAILED):
        shown = shell_line("sweep", "show", directory.path)
        raise BadRun(f"no trial finished, {record.count(FAILED)} failed. See why: {shown}. Then add --retry-failed")
    print(leaderboard.leaders(record))
    note(f"see {directory.path / PAGE}")
    best = record.best
    chosen = best and study.trials()[best.number].user_attrs
    return SweepResult(
        "sweep",
        str(directory.path),
        len(record.trials),
        record.count(FINISHED),
        record.count(PRUNED),
        record.count(FAILED),
        searching.reused,
        searching.teacher_forwards,
        {"config": chosen["shown"], "metrics": chosen["metrics"], "out": chosen["out"]} if chosen else None,
        round(seconds, 2),
        round(searching.training_seconds, 2),
        searching.examples,
    )


def _listed(config: SweepConfig, space: Space, trials: Trials) -> list[Trial]:
    """All trials of a space; one of them where bayes proposes them, to see whether such a one can be trained."""
    if config.strategy != "bayes":
        return finite(space, trials, config.strategy)
    if space.either:
        raise BadOption(
            f"{config.space}: bayes proposes from lists and ranges, not from [[either]]. Use another --strategy"
        )
    first, last = ({name: values[place] for name, values in space.choices.items()} for place in (0, -1))
    first |= {name: int(of.low) if of.whole else of.low for name, of in space.ranges.items()}
    last |= {name: int(of.high) if of.whole else of.high for name, of in space.ranges.items()}
    try:
        return [trials.of({**space.constants, **first})]
    except BadOption:  # as a proposal that does not fit would be left out
        return [trials.of({**space.constants, **last})]


def _fixed(config: SweepConfig, trials: Trials, listed: list[Trial]) -> Strategy:
    """The strategy over trials that are known beforehand; of bayes, one of its trials."""
    if config.strategy == "staged":
        return staged(listed, trials.of)
    return halving(listed) if config.strategy == "halving" else grid(listed)


def _about(config: SweepConfig, space: Space, trials: Trials, metric: str, planned: int) -> dict[str, Any]:
    """What makes it this sweep."""
    blocks = [{name: list(values) for name, values in block.items()} for block in space.either]
    of_bayes = {"trials": config.trials, "seed": config.seed} if config.strategy == "bayes" else {}
    return {
        "strategy": config.strategy,
        **of_bayes,
        "space": {
            "constants": dict(space.constants),
            "choices": {name: list(values) for name, values in space.choices.items()},
            "ranges": {name: vars(of) for name, of in space.ranges.items()},
            **({"either": blocks} if blocks else {}),
        },
        "caches": {location: cache.manifest.identity for location, cache in trials.caches.items()},
        "metric": metric,
        "planned": planned,
        "command": command_line("sweep", config),
    }


def _default_out(about: Mapping[str, Any]) -> str:
    caches = "-".join(sorted({Path(location).name for location in about["caches"]}))
    digest = json_digest([about.get(key) for key in ("strategy", "space", "caches", "trials", "seed")])[:8]
    return f"sweeps/{caches}-{about['strategy']}-{digest}"
