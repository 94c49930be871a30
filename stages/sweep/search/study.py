"""The memory of a sweep: an Optuna study in a file of its directory, which optuna-dashboard opens too.

Every trial that was begun is in it, with its options, how it did at each rung, and how it ended. Rungs are numbered
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

from pipeline.errors import BadRun, one_line
from stages.sweep.search.record import FAILED, FINISHED, PAUSED, PRUNED, RUNNING, WAITING
from stages.sweep.search.space import Range, Space
from stages.sweep.search.trials import varying

JOURNAL = "optuna.journal"
NAME = "sweep"
THOUSANDTHS = 1000
STATES = {TrialState.COMPLETE: FINISHED, TrialState.PRUNED: PRUNED, TrialState.FAIL: FAILED}
ENDS = {state: of_optuna for of_optuna, state in STATES.items()}


Distributions = Mapping[str, BaseDistribution]


def distributions(space: Space) -> Distributions:
    """Of the options that differ between trials which are proposed from a space."""
    values: dict[str, Range | Sequence[Any]] = {**space.choices, **space.ranges}
    return {name: _distribution(of) for name, of in values.items()}


def categories(shown: Sequence[Mapping[str, Any]], methods: Sequence[str] = ()) -> Distributions:
    """Of the options that differ between trials which are known beforehand; `methods` are tried besides theirs."""
    values = {name: [one[name] for one in shown] for name in varying(shown)}
    if methods:
        values["method"] = [*methods, *(one["method"] for one in shown)]
    return {
        name: CategoricalDistribution([one for one in dict.fromkeys(of) if one is not None])
        for name, of in values.items()
    }


def _distribution(values: Range | Sequence[Any]) -> BaseDistribution:
    if isinstance(values, Range):
        if values.whole:
            return IntDistribution(int(values.low), int(values.high), log=values.log)
        return FloatDistribution(values.low, values.high, log=values.log)
    return CategoricalDistribution(values)


def rung(share: float) -> int:
    return round(share * THOUSANDTHS)


@contextmanager
def damage_told(journal: Path) -> Iterator[None]:
    """Raises `BadRun` for a journal that is not what a search has written."""
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, IsADirectoryError) as error:
        reason = f"{type(error).__name__}: {one_line(error)}"
        raise BadRun(f"{journal} is damaged ({reason}). Start again in another --out") from error


class Study:
    """The study in a sweep's directory. Whoever writes holds the lease of the directory; reading needs none, and raises
    `BadRun` where there is nothing to read.
    """

    def __init__(self, directory: Path, write: bool):
        path = directory / JOURNAL
        not_begun = BadRun(f"{directory}: its search has not begun yet. Try again in a moment")
        if not write and not path.is_file():
            raise not_begun
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        with damage_told(path), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a feature called experimental
            if write:
                _mend(path)
            storage = JournalStorage(JournalFileBackend(str(path)))
            try:
                self.study = (
                    optuna.create_study(storage=storage, study_name=NAME, direction="maximize", load_if_exists=True)
                    if write
                    else optuna.load_study(storage=storage, study_name=NAME)
                )
            except KeyError:
                raise not_begun from None
            self.numbers = {t.user_attrs["key"]: t.number for t in self.trials() if "key" in t.user_attrs}

    def trials(self) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False)

    def trial(self, key: str) -> FrozenTrial | None:
        """What is known of the trial with this key."""
        return self.trials()[self.numbers[key]] if key in self.numbers else None

    def begin(self, key: str, parameters: Mapping[str, Any], of: Distributions, about: Mapping[str, Any]) -> int:
        """The number of a trial, which is new unless it was begun before."""
        if key not in self.numbers:
            known = {name: parameters[name] for name in of if parameters.get(name) is not None}
            trial = create_trial(
                state=TrialState.RUNNING,
                params=known,
                distributions={name: of[name] for name in known},
                user_attrs={"key": key, **about},
            )
            self.study.add_trial(trial)
            self.numbers[key] = len(self.trials()) - 1
        return self.numbers[key]

    def ask(self, of: Distributions, seed: int) -> Trial:
        """Options that TPE proposes, from all that ended. The number of the trial is part of the seed, so a search that
        is interrupted goes on as it would have.
        """
        count = len(self.trials())
        self.study.sampler = optuna.samplers.TPESampler(seed=(seed * 1_000_003 + count) % 2**32)
        return self.study.ask(dict(of))

    def forget(self, key: str) -> None:
        """A trial that is begun again gets a new number."""
        del self.numbers[key]

    def named(self, trial: Trial, key: str, about: Mapping[str, Any]) -> None:
        """Say which training a proposed trial is; its key last, for without one it counts as never begun."""
        for name, value in {**about, "key": key}.items():
            trial.set_user_attr(name, value)
        self.numbers[key] = trial.number

    def add(self, key: str, **numbers: float) -> None:
        """Add to what a trial has cost so far."""
        trial = self._open(key)
        for name, value in numbers.items():
            trial.set_user_attr(name, trial.user_attrs.get(name, 0) + value)

    def reached(self, key: str, share: float, score: float) -> None:
        """A trial's score at a rung."""
        trial = self._open(key)
        if rung(share) not in self.trials()[trial.number].intermediate_values:
            trial.report(score, rung(share))

    def score_at(self, key: str, share: float) -> float | None:
        trial = self.trial(key)
        return trial.intermediate_values.get(rung(share)) if trial else None

    def should_prune(self, key: str) -> bool:
        """What the pruner says of a trial at its last rung."""
        return self._open(key).should_prune()

    def end(self, key: str, state: str, score: float | None = None, error: str | None = None, **about: Any) -> None:
        """A trial is over."""
        trial = self._open(key)
        for name, value in {"error": error, **about}.items():
            if value is not None:
                trial.set_user_attr(name, value)
        self.study.tell(trial.number, score if state == FINISHED else None, ENDS[state])

    def _open(self, key: str) -> Trial:
        return Trial(self.study, self.trials()[self.numbers[key]]._trial_id)


def state_of(trial: FrozenTrial, running: bool) -> str:
    """Of a trial in a sweep that is at work on it, or is not."""
    if trial.state in STATES:
        return STATES[trial.state]
    if running:
        return RUNNING
    return PAUSED if trial.intermediate_values else WAITING


def _mend(path: Path) -> None:
    """Remove what a killed process left: the lock of the journal, and half a line at its end."""
    for lock in path.parent.glob(f"{path.name}*.lock*"):
        lock.unlink(missing_ok=True)
    if path.is_file():
        data = path.read_bytes()
        if not data.endswith(b"\n"):
            with path.open("r+b") as file:
                file.truncate(data.rfind(b"\n") + 1)
