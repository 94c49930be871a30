"""A sweep's directory: what is searched (sweep.json, written first), the study, and how far its running trials are."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial

from pipeline.errors import BadRun, one_line, shell_line
from pipeline.system.files import read_json, write_json
from pipeline.system.lease import directory_lease, is_free, leave_directory
from pipeline.training.run_directory import read_curve
from stages.sweep.execution.worker import ProgressUpdate
from stages.sweep.search.record import FINISHED, RUNNING, SweepRecord, TrialRecord
from stages.sweep.search.study import JOURNAL, Study, damage_told, state_of
from stages.sweep.search.trials import varying

SWEEP, PROGRESS, PAGE = "sweep.json", "progress.json", "sweep.html"


class SweepDirectory:
    """`about` is what makes it this sweep: its space, strategy and caches."""

    def __init__(self, path: Path):
        self.path = path
        self.lease = directory_lease(path)

    @contextmanager
    def claimed(self, about: Mapping[str, Any]) -> Iterator[None]:
        """Meanwhile nobody else searches in it. Raises `BadRun` if another process does, or if it holds another sweep
        or something else.
        """
        try:
            self._check(about)
            holder = self.lease.acquire()
        except OSError as error:
            raise BadRun(f"{self.path} cannot be written ({error.strerror}). Choose another --out") from error
        if holder is not None:
            look = shell_line("sweep", "status", self.path)
            raise BadRun(f"{self.path} is being searched by {holder}. See how far it is: {look}")
        try:
            if not (self.path / SWEEP).is_file():
                write_json(self.path / SWEEP, dict(about))
            yield
        finally:
            leave_directory(self.lease)

    def _check(self, about: Mapping[str, Any]) -> None:
        if (self.path / SWEEP).is_file():
            there = self.about()
            wanted = json.loads(json.dumps(about))
            keys = sorted((set(there) | set(wanted)) - {"command"})
            differences = [
                f"{key}: {there.get(key)} ≠ {wanted.get(key)}" for key in keys if there.get(key) != wanted.get(key)
            ]
            if differences:
                raise BadRun(f"{self.path} holds another sweep ({'; '.join(differences)}). Choose another --out")
        elif not is_free(self.path):
            raise BadRun(f"{self.path} exists and is no sweep. Choose another --out")

    def about(self) -> dict[str, Any]:
        """Raises `BadRun` for a directory that is no sweep."""
        try:
            found = read_json(self.path / SWEEP)
            texts = [found["strategy"], found["metric"], found["command"], *found["caches"].values()]
            if not all(isinstance(one, str) for one in texts) or not isinstance(found.get("planned", 0), int):
                raise ValueError("fields of other types")
        except FileNotFoundError:
            raise BadRun(f"{self.path} is no sweep (it has no {SWEEP}). Name a directory that a sweep wrote") from None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise BadRun(f"{self.path / SWEEP} is damaged ({one_line(error)}). Start again in another --out") from error
        return found

    def progress(self) -> tuple[float, bool, dict[str, ProgressUpdate]]:
        """Seconds of all calls so far, whether the last one came to the end, and its running trials."""
        try:
            found = read_json(self.path / PROGRESS)
            live = {str(key): ProgressUpdate(**told) for key, told in found["live"].items()}
            if not all(isinstance(one, int | float) for told in live.values() for one in (told.step, told.seconds)):
                raise ValueError("fields of other types")
            return float(found["seconds"]), found["finished"] is True, live
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return 0.0, False, {}

    def write_progress(self, seconds: float, live: Mapping[str, ProgressUpdate], finished: bool = False) -> None:
        """Raises `LeaseLost` if another process took the directory over while this one was silent."""
        self.lease.check()
        running = {key: vars(told) for key, told in live.items()}
        write_json(self.path / PROGRESS, {"seconds": round(seconds, 2), "finished": finished, "live": running})

    def read(self) -> SweepRecord:
        """As it is now, from what a search has written. Raises `BadRun`."""
        self.about()
        running = self.lease.holder() is not None
        seconds, finished, live = self.progress()
        with damage_told(self.path / JOURNAL):
            study = Study(self.path, write=False)
            return self.record(study, live if running else {}, seconds, finished and not running)

    def record(self, study: Study, live: Mapping[str, ProgressUpdate], seconds: float, finished: bool) -> SweepRecord:
        about = self.about()
        found = study.trials()
        trials = [found[number] for number in sorted(study.numbers.values())]
        names = varying(trial.user_attrs["shown"] for trial in trials)
        records = tuple(_record(trial, names, live.get(trial.user_attrs["key"])) for trial in trials)
        return SweepRecord(
            self.path.name,
            about["command"],
            about["strategy"],
            about["metric"],
            about["caches"],
            records,
            about.get("planned", 0),
            finished,
            seconds,
        )


def _record(trial: FrozenTrial, names: list[str], told: ProgressUpdate | None) -> TrialRecord:
    about = trial.user_attrs
    curve, step = read_curve(Path(about["out"]))
    state = state_of(trial, told is not None)
    score = trial.value if trial.value is not None else next(reversed(trial.intermediate_values.values()), None)
    examples, seconds = about.get("examples", 0), about.get("seconds", 0.0)
    if told:
        examples, seconds, step = examples + told.examples, seconds + told.seconds, told.step
        score = told.score if told.score is not None else score
    return TrialRecord(
        number=trial.number,
        state=state,
        parameters={name: about["shown"].get(name) for name in names},
        method=about["method"],
        command=about["command"],
        out=about["out"],
        score=score,
        metrics=about.get("metrics", {}),
        curve=curve,
        steps=about["total"] if state == FINISHED and not curve else step,
        total=about["total"],
        examples=int(examples),
        seconds=seconds,
        rate=told.examples / told.seconds if told and told.seconds and state == RUNNING else 0.0,
        ended=trial.datetime_complete.timestamp() if trial.datetime_complete else None,
        error=about.get("error"),
        reused=bool(about.get("reused")),
    )
