"""The record of a sweep: an Optuna study in a file of its directory, which optuna-dashboard opens too.

Every trial that was started is in it, with its options, its score at each rung, and how it ended. Rungs are numbered
in thousandths of a training, since trials may differ in length.
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from pipeline.config.options import shown
from pipeline.errors import BadRun, one_line
from stages.sweep.search.record import FAILED, FINISHED, PAUSED, PRUNED, RUNNING, WAITING
from stages.sweep.search.space import Range, Space
from stages.sweep.search.trials import varying

JOURNAL = "optuna.journal"
NAME = "sweep"
THOUSANDTHS = 1000
STATES = {TrialState.COMPLETE: FINISHED, TrialState.PRUNED: PRUNED, TrialState.FAIL: FAILED}
ENDS = {state: optuna_state for optuna_state, state in STATES.items()}


Distributions = Mapping[str, BaseDistribution]


def distributions(space: Space) -> Distributions:
    """Return the distributions of the options from which trials of a space are proposed."""
    values: dict[str, Range | Sequence[Any]] = {**space.choices, **space.ranges}
    return {name: _distribution(domain) for name, domain in values.items()}


def categories(option_values: Sequence[Mapping[str, Any]], methods: Sequence[str] = ()) -> Distributions:
    """Return the distributions of the options that differ between listed trials, and in `methods`."""
    domains = {name: [values[name] for values in option_values] for name in varying(option_values)}
    if methods:
        domains["method"] = [*methods, *(values["method"] for values in option_values)]
    return {
        name: CategoricalDistribution([value for value in dict.fromkeys(domain) if value is not None])
        for name, domain in domains.items()
    }


def _distribution(values: Range | Sequence[Any]) -> BaseDistribution:
    if isinstance(values, Range):
        if values.integer:
            return IntDistribution(int(values.low), int(values.high), log=values.log)
        return FloatDistribution(values.low, values.high, log=values.log)
    return CategoricalDistribution([shown(value) for value in values])


def rung(share: float) -> int:
    """Return the number of the rung at a share of a training."""
    return round(share * THOUSANDTHS)


@contextmanager
def refuse_damage(journal: Path) -> Iterator[None]:
    """Raise `BadRun` if reading the journal fails because it is not what a search has written."""
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, IsADirectoryError) as error:
        reason = f"{type(error).__name__}: {one_line(error)}"
        raise BadRun(f"{journal} is damaged ({reason}). Start again in another --out") from error


class Study:
    """The study in a sweep's directory.

    A process that writes holds the lease of the directory; reading needs none, and raises `BadRun` if there is nothing
    to read.
    """

    def __init__(self, directory: Path, write: bool):
        path = directory / JOURNAL
        not_started = BadRun(f"{directory}: its search has not started yet. Try again in a moment")
        if not write and not path.is_file():
            raise not_started
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        with refuse_damage(path), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that the journal is experimental
            if write:
                _repair(path)
            storage = JournalStorage(JournalFileBackend(str(path)))
            try:
                self.study = (
                    optuna.create_study(storage=storage, study_name=NAME, direction="maximize", load_if_exists=True)
                    if write
                    else optuna.load_study(storage=storage, study_name=NAME)
                )
            except KeyError:
                raise not_started from None
            self.numbers = {t.user_attrs["key"]: t.number for t in self.trials() if "key" in t.user_attrs}

    def trials(self) -> list[FrozenTrial]:
        """Return all trials, by number."""
        return self.study.get_trials(deepcopy=False)

    def trial(self, key: str) -> FrozenTrial | None:
        """Return the trial with this key, or None."""
        return self.trials()[self.numbers[key]] if key in self.numbers else None

    def begin(
        self, key: str, option_values: Mapping[str, Any], domains: Distributions, attributes: Mapping[str, Any]
    ) -> int:
        """Return the number of a trial, which is added unless it was started before."""
        if key not in self.numbers:
            parameters = {name: option_values[name] for name in domains if option_values.get(name) is not None}
            trial = create_trial(
                state=TrialState.RUNNING,
                params=parameters,
                distributions={name: domains[name] for name in parameters},
                user_attrs={"key": key, **attributes},
            )
            self.study.add_trial(trial)
            self.numbers[key] = len(self.trials()) - 1
        return self.numbers[key]

    def ask(self, domains: Distributions, seed: int) -> Trial:
        """Return a trial with the options that TPE proposes from all trials that ended.

        The number of the trial is part of the seed, so an interrupted search continues as it would have.
        """
        count = len(self.trials())
        self.study.sampler = optuna.samplers.TPESampler(seed=(seed * 1_000_003 + count) % 2**32)
        return self.study.ask(dict(domains))

    def forget(self, key: str) -> None:
        """Forget the number of a trial, so that it gets a new one when it is started again."""
        del self.numbers[key]

    def accept(self, trial: Trial, key: str, attributes: Mapping[str, Any]) -> None:
        """Record which training a proposed trial is; its key last, since without one it counts as not started."""
        for name, value in {**attributes, "key": key}.items():
            trial.set_user_attr(name, value)
        self.numbers[key] = trial.number

    def add_cost(self, key: str, **numbers: float) -> None:
        """Add to the examples and seconds of a trial."""
        trial = self._open(key)
        for name, value in numbers.items():
            trial.set_user_attr(name, trial.user_attrs.get(name, 0) + value)

    def record_score(self, key: str, share: float, score: float) -> None:
        """Record a trial's score at a rung."""
        trial = self._open(key)
        if rung(share) not in self.trials()[trial.number].intermediate_values:
            trial.report(score, rung(share))

    def score_at(self, key: str, share: float) -> float | None:
        """Return a trial's score at a rung, or None if it has not reached it."""
        trial = self.trial(key)
        return trial.intermediate_values.get(rung(share)) if trial else None

    def should_prune(self, key: str) -> bool:
        """Return whether the pruner stops a trial at its last rung."""
        return self._open(key).should_prune()

    def end(self, key: str, state: str, score: float | None = None, error: str | None = None, **more: Any) -> None:
        """Record how a trial ended, with further attributes."""
        trial = self._open(key)
        for name, value in {"error": error, **more}.items():
            if value is not None:
                trial.set_user_attr(name, value)
        self.study.tell(trial.number, score if state == FINISHED else None, ENDS[state])

    def _open(self, key: str) -> Trial:
        return Trial(self.study, self.trials()[self.numbers[key]]._trial_id)


def state_of(trial: FrozenTrial, running: bool) -> str:
    """Return the state of a trial; `running` is whether the sweep trains it now."""
    if trial.state in STATES:
        return STATES[trial.state]
    if running:
        return RUNNING
    return PAUSED if trial.intermediate_values else WAITING


def _repair(path: Path) -> None:
    """Remove what a killed process left: the lock of the journal, and half a line at its end."""
    for lock in path.parent.glob(f"{path.name}*.lock*"):
        lock.unlink(missing_ok=True)
    if path.is_file():
        data = path.read_bytes()
        if not data.endswith(b"\n"):
            with path.open("r+b") as file:
                file.truncate(data.rfind(b"\n") + 1)
