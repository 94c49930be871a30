"""A complete sweep on an engine: from its space to its result and page."""

import time
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.config.options import command_line
from pipeline.config.sweep import SweepConfig
from pipeline.distillation.unsure_teacher import unsure_teacher
from pipeline.errors import BadRun, shell_line
from pipeline.system.digests import json_digest
from pipeline.system.interrupts import stop_requests
from pipeline.system.progress import note, show
from pipeline.training.tracking import prepare_tracker
from stages.sweep.execution.local import Engine
from stages.sweep.report import leaderboard
from stages.sweep.report.page import write_page
from stages.sweep.report.terminal import progress_display
from stages.sweep.search.directory import PAGE, SweepDirectory
from stages.sweep.search.estimate import Estimate, estimate, estimate_text
from stages.sweep.search.packing import pack_size
from stages.sweep.search.record import FAILED, FINISHED, PRUNED, SweepRecord
from stages.sweep.search.search import DIVERGED, Search
from stages.sweep.search.space import Space, read_space
from stages.sweep.search.strategies import STRATEGIES, make_plan
from stages.sweep.search.study import Study
from stages.sweep.search.trials import Trial, Trials
from stages.sweep.search.waves import dry_run


@dataclass(frozen=True)
class SweepResult:
    """The last line of `sweep`: counts of trials, the best one, and the cost of this call."""

    command: str
    out: str
    trials: int
    finished: int
    pruned: int
    failed: int
    reused: int  # complete before this call
    teacher_forwards: int
    best: dict[str, Any] | None  # config, metrics, out
    failures: list[dict[str, Any]]  # trial, parameters, out, error
    seconds: float
    training_seconds: float  # of the trials of this call, from opening the cache to writing the run
    examples_trained: int  # in this call


def search(config: SweepConfig, starting: AbstractContextManager[Engine], started: float) -> SweepResult | Estimate:
    """Run `stages.sweep.run` on an engine.

    The engine is entered once everything is checked. `started` is when the command was, by the monotonic clock.
    """
    space, trials = read_space(config.space, config.cache), Trials(config)
    plan = make_plan(config, space, trials)
    metric = trials.metric()
    tried = dry_run(plan.rehearse())
    pack = pack_size(config.pack, plan.example, trials, measure=not config.dry_run)
    if config.dry_run:
        cost = estimate(tried, trials, plan.repeats)
        show(estimate_text([trial for trial, _ in tried.values()], cost))
        return cost
    for line in _remarks(tried, trials):
        note(line)
    prepare_tracker(config.track, next(iter(trials.caches.values())).manifest.task.name)
    definition = _definition(config, space, trials, metric, plan.repeats * len(tried))
    directory = SweepDirectory(Path(config.out or _default_out(definition, trials.names)))
    with directory.claimed(definition):
        note(f"{directory.path}: see how far it is with: {shell_line('sweep', 'status', directory.path)}")
        study = Study(directory.path, write=True)
        before, _, _ = directory.progress()
        with stop_requests() as stop, progress_display(directory, study, before) as on_change, starting as engine:
            tracked = {"track": config.track, "track_group": directory.path.absolute().name} if config.track else {}
            searching = Search(study, plan.distributions, engine, stop, on_change, config.retry_failed, pack, tracked)
            searching.run(plan.start(study, engine.slots * pack))
        seconds = time.monotonic() - started
        directory.write_progress(before + seconds, {}, finished=True)
        record = directory.record(study, {}, before + seconds, finished=True)
        write_page(record, directory.path / PAGE)
    failed = [trial for trial in record.trials if trial.state == FAILED]
    if failed and not record.count(FINISHED):
        details = shell_line("sweep", "show", directory.path)
        diverged = all(study.trials()[trial.number].user_attrs.get("cause") == DIVERGED for trial in failed)
        way_on = "Lower lr in --space, and name another --out" if diverged else "Then add --retry-failed"
        raise BadRun(f"no trial finished, {len(failed)} failed. See why: {details}. {way_on}")
    show(leaderboard.leaders(record))
    for line in leaderboard.failures(record):
        note(f"failed: {line}")
    note(f"see {directory.path / PAGE}")
    return SweepResult(
        "sweep",
        str(directory.path),
        len(record.trials),
        record.count(FINISHED),
        record.count(PRUNED),
        record.count(FAILED),
        searching.reused,
        searching.teacher_forwards,
        _best(record, study),
        [
            {"trial": trial.number, "parameters": trial.parameters, "out": trial.out, "error": trial.error}
            for trial in failed
        ],
        round(seconds, 2),
        round(searching.training_seconds, 2),
        searching.examples,
    )


def _remarks(tried: Mapping[str, tuple[Trial, float]], trials: Trials) -> list[str]:
    """Return what a user should know before these trials are trained, each line once."""
    lines = [line for cache in trials.caches.values() for line in cache.remarks]
    targets = {(t.config.cache, t.config.temperature, t.recipe.method.name): t for t, _ in tried.values()}
    unsure = (unsure_teacher(trial.recipe.objective, trial.examples) for trial in targets.values())
    return [*lines, *dict.fromkeys(line for line in unsure if line)]


def _best(record: SweepRecord, study: Study) -> dict[str, Any] | None:
    if record.best is None:
        return None
    attributes = study.trials()[record.best.number].user_attrs
    return {"config": attributes["shown"], "metrics": attributes["metrics"], "out": attributes["out"]}


def _definition(config: SweepConfig, space: Space, trials: Trials, metric: str, planned: int) -> dict[str, Any]:
    """Return what makes it this sweep, as sweep.json holds it."""
    return {
        "strategy": config.strategy,
        **{name: getattr(config, name) for name in STRATEGIES[config.strategy].options},
        "space": space.as_json(),
        "caches": {name: cache.identity for name, cache in trials.caches.items()},
        "metric": metric,
        "planned": planned,
        "command": command_line("sweep", config),
    }


def _default_out(definition: Mapping[str, Any], names: Iterable[str]) -> str:
    caches = "-".join(sorted(names))
    digest = json_digest([definition.get(key) for key in ("strategy", "space", "caches", "trials", "seed")])[:8]
    return f"sweeps/{caches}-{definition['strategy']}-{digest}"
