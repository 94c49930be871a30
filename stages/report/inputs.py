"""The runs and sweeps that a report is about: read, checked, and sorted by the cache that they were trained from."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, permutations
from pathlib import Path

from pipeline.cache.format.columns import LOGITS
from pipeline.cache.joined_cache import join_caches
from pipeline.cache.open import open_cache, open_caches
from pipeline.cache.reader import Cache
from pipeline.config.options import values_of
from pipeline.config.report import ReportConfig
from pipeline.data.splits import Split, selection_split
from pipeline.data.task_metrics import TaskMetrics
from pipeline.data.tasks import DEV, role_of
from pipeline.errors import BadCache, BadOption, BadRun, one_line, shell_line
from pipeline.training.run_reader import RUN, STARTED, check_caches_exist
from stages.report.student_run import StudentRun, check_predictions, read_student
from stages.sweep.search.directory import SWEEP, SweepDirectory
from stages.sweep.search.record import FINISHED, SweepRecord

MOST_JOINED = 5  # of the caches named with --cache, of which every order is tried


@dataclass(frozen=True)
class Distillation:
    """A cache of one teacher, and the students that were trained from it, in the order of the table.

    `metrics` are those of the teacher, and the first one judges. `split` is the labelled dev split that selects.
    """

    cache: Cache
    runs: tuple[StudentRun, ...]
    metrics: TaskMetrics
    split: str

    @property
    def dev(self) -> Split:
        """The examples that the students are compared on."""
        return self.cache.splits[self.split]


@dataclass(frozen=True)
class Inputs:
    """Everything that a report is about."""

    task: str
    distillations: tuple[Distillation, ...]  # one for each cache
    sweeps: tuple[SweepRecord, ...]
    named: frozenset[Path]  # runs that were named themselves, not by their sweep

    @property
    def runs(self) -> tuple[StudentRun, ...]:
        """All runs."""
        return tuple(run for distillation in self.distillations for run in distillation.runs)


def read_inputs(config: ReportConfig) -> Inputs:
    """Return the runs and sweeps of a configuration with their caches. Raises `BadRun`, `BadCache`, `BadOption`."""
    runs: dict[Path, StudentRun] = {}
    sweeps, named = [], set()
    for name in sorted(set(values_of(config.runs))):
        if (Path(name) / SWEEP).is_file():
            sweeps.append(SweepDirectory(Path(name)).read())
            paths = _trials(name, sweeps[-1])
        else:
            paths = [_run(name)]
            named.add(paths[0].resolve())
        runs |= {path.resolve(): read_student(path) for path in paths if path.resolve() not in runs}
    ordered = sorted(runs.values(), key=lambda run: run.order)
    groups: dict[tuple[str, str], list[StudentRun]] = {}
    for run in ordered:
        groups.setdefault(run.inputs, []).append(run)
    given = tuple(map(str, values_of(config.cache)))
    caches = [_cache(members[0], given) for members in groups.values()]
    _check_alike(caches, list(groups.values()))
    judge = _judge(ordered)
    distillations = [
        _distillation(cache, members, judge) for cache, members in zip(caches, groups.values(), strict=True)
    ]
    distillations.sort(key=lambda distillation: distillation.cache.location)
    return Inputs(distillations[0].cache.manifest.task.name, tuple(distillations), tuple(sweeps), frozenset(named))


def _run(name: str) -> Path:
    """Return the directory of a run, finished or not. Raises `BadRun` for another place."""
    if not any((Path(name) / file).is_file() for file in (RUN, STARTED)):
        fact = "is neither a run nor a sweep" if Path(name).exists() else "does not exist"
        raise BadRun(f"{one_line(name)} {fact}. Name the --out directory of train-student or of sweep")
    return Path(name)


def _trials(name: str, record: SweepRecord) -> list[Path]:
    """Return the runs of the finished trials of a sweep. Raises `BadRun` if there are none, or not here."""
    paths = [Path(trial.out) for trial in record.trials if trial.state == FINISHED]
    if not paths:
        raise BadRun(f"{name} has no finished trial yet. See: {shell_line('sweep', 'status', name)}")
    for path in paths:
        if not path.is_dir():
            raise BadRun(f"{name}: the run {path} of this sweep is not here. Go to the directory where it was trained")
    return paths


def _cache(run: StudentRun, given: Sequence[str]) -> Cache:
    """Return the cache of a run, where it was or among those `given`. Raises `BadCache` if it is in neither place."""
    if not given:
        check_caches_exist(run.caches, run.path)
        if not run.caches:
            raise BadRun(f"{run.path} does not say which cache it was trained from. Name it with --cache")
        cache = open_caches(run.caches)
        if _inputs(cache) != run.inputs:
            raise BadCache(
                f"{cache.location} is no longer the cache of {run.path} (identity {cache.identity[:12]}… ≠ "
                f"{run.inputs[0][:12]}…). Name the right one with --cache"
            )
        return cache
    opened = [open_cache(name) for name in given]
    for members in chain(([cache] for cache in opened), _joinable(opened, len(run.caches))):
        with suppress(BadCache):  # caches of different teachers do not join
            if _inputs(cache := join_caches(members)) == run.inputs:
                return cache
    raise BadCache(
        f"--cache {one_line(', '.join(given))}: this is not the cache of {run.path} (identity "
        f"{opened[0].identity[:12]}… ≠ {run.inputs[0][:12]}…). Name the caches of all runs"
    )


def _joinable(caches: Sequence[Cache], count: int) -> Sequence[Sequence[Cache]]:
    """Return the ways to join `count` of these caches."""
    if count < 2:
        return ()
    if len(caches) > MOST_JOINED:
        raise BadOption(f"--cache names {len(caches)} caches: a report has at most {MOST_JOINED}. Report fewer runs")
    return list(permutations(caches, count))


def _inputs(cache: Cache) -> tuple[str, str]:
    """Return the digests by which a run knows its cache; see `StudentRun.inputs`."""
    inputs = cache.run_inputs
    return inputs["cache"], inputs.get("dev_rows", "")


def _check_alike(caches: Sequence[Cache], groups: Sequence[Sequence[StudentRun]]) -> None:
    """Raise `BadRun` for runs of different tasks, or of other classes: a report is about one task."""
    first, first_run = caches[0].manifest, groups[0][0]
    for cache, members in zip(caches, groups, strict=True):
        manifest, advice = cache.manifest, f"Report them one by one: {shell_line('report', members[0].path)}"
        if manifest.task.name != first.task.name:
            raise BadRun(
                f"{members[0].path} is of task {one_line(manifest.task.name)}, and {first_run.path} of "
                f"{one_line(first.task.name)}. {advice}"
            )
        if (manifest.kind.name, manifest.task.labels) != (first.kind.name, first.task.labels):
            raise BadRun(
                f"{members[0].path} and {first_run.path} are of two tasks called {one_line(first.task.name)}, with "
                f"other classes. {advice}"
            )


def _judge(runs: Sequence[StudentRun]) -> str | None:
    """Return the metric with which all runs were selected; None for the first one of the task."""
    judges = {run.config.get("metric") for run in runs}
    judge = next(iter(judges))
    return judge if len(judges) == 1 and isinstance(judge, str) else None


def _distillation(cache: Cache, runs: Sequence[StudentRun], judge: str | None) -> Distillation:
    """Return the runs of a cache with what they are compared on, verified. Raises `BadCache`, `BadRun`."""
    dev = {name: split for name, split in cache.splits.items() if role_of(name) == DEV}
    if (split := selection_split(dev)) is None:
        raise BadCache(
            f"{cache.location} does not have a labelled dev split, so its students cannot be compared. Cache one with "
            "--dev-file"
        )
    metrics = cache.manifest.task_metrics.judged_by(judge)
    with cache.check_in_background({name: [LOGITS, *cache.manifest.text_names] for name in dev}) as check:
        check.wait()
    for run in runs:
        check_predictions(run, dev, cache.manifest.model.classes)
        if metrics.judge not in run.result.metrics.get(split, {}):
            raise BadRun(f"{run.path} was not measured by {metrics.judge} on {split}. Train the run again")
    return Distillation(cache, tuple(runs), metrics, split)
