"""A sweep's directory: its definition (sweep.json, written first), the study, and the progress of running trials."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial

from pipeline.errors import BadRun, one_line, shell_line
from pipeline.system.files import read_json, write_json
from pipeline.system.lease import directory_lease, is_free, leave_directory
from pipeline.system.system_errors import raise_if_of_system
from pipeline.training.run_reader import read_curve
from stages.sweep.execution.worker import ProgressUpdate
from stages.sweep.search.record import FINISHED, RUNNING, SweepRecord, TrialRecord
from stages.sweep.search.study import JOURNAL, Study, refuse_damage, state_of
from stages.sweep.search.trials import varying, with_defaults

SWEEP, PROGRESS, PAGE = "sweep.json", "progress.json", "sweep.html"


class SweepDirectory:
    """The directory of one sweep. Its definition is what makes it this sweep: space, strategy and caches."""

    def __init__(self, path: Path):
        self.path = path
        self.lease = directory_lease(path)

    @contextmanager
    def claimed(self, definition: Mapping[str, Any]) -> Iterator[None]:
        """Hold the directory, so that no other process searches in it.

        Raises `BadRun` if another process does, or if it holds another sweep or something else.
        """
        try:
            self._check(definition)
            holder = self.lease.acquire()
        except OSError as error:
            raise BadRun(f"{self.path} cannot be written ({error.strerror}). Choose another --out") from error
        if holder is not None:
            status = shell_line("sweep", "status", self.path)
            raise BadRun(f"{self.path} is being searched by {holder}. See how far it is: {status}")
        try:
            if not (self.path / SWEEP).is_file():
                write_json(self.path / SWEEP, dict(definition))
            yield
        finally:
            leave_directory(self.lease)

    def _check(self, definition: Mapping[str, Any]) -> None:
        if (self.path / SWEEP).is_file():
            existing = self.definition()
            wanted = json.loads(json.dumps(definition))
            keys = sorted((set(existing) | set(wanted)) - {"command"})
            differences = [
                f"{key}: {existing.get(key)} ≠ {wanted.get(key)}"
                for key in keys
                if existing.get(key) != wanted.get(key)
            ]
            if differences:
                raise BadRun(f"{self.path} holds another sweep ({'; '.join(differences)}). Choose another --out")
        elif not is_free(self.path):
            raise BadRun(f"{self.path} exists and is not a sweep directory. Choose another --out")

    def definition(self) -> dict[str, Any]:
        """Return the content of sweep.json. Raises `BadRun` for a directory without one, or where it is damaged."""
        try:
            content = read_json(self.path / SWEEP)
            texts = [content["strategy"], content["metric"], content["command"], *content["caches"].values()]
            if not all(isinstance(text, str) for text in texts) or not isinstance(content.get("planned", 0), int):
                raise ValueError("fields of other types")
        except FileNotFoundError:
            raise BadRun(
                f"{self.path} is not a sweep directory (no {SWEEP}). Pass the --out directory of a sweep"
            ) from None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise_if_of_system(error)
            raise BadRun(f"{self.path / SWEEP} is damaged ({one_line(error)}). Start again in another --out") from error
        return content

    def progress(self) -> tuple[float, bool, dict[str, ProgressUpdate]]:
        """Return the seconds of all calls so far, whether the last one came to the end, and its running trials."""
        try:
            content = read_json(self.path / PROGRESS)
            live = {str(key): ProgressUpdate(**update) for key, update in content["live"].items()}
            numbers = [number for update in live.values() for number in (update.step, update.seconds)]
            if not all(isinstance(number, int | float) for number in numbers):
                raise ValueError("fields of other types")
            return float(content["seconds"]), content["finished"] is True, live
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise_if_of_system(error)
            return 0.0, False, {}

    def write_progress(self, seconds: float, live: Mapping[str, ProgressUpdate], finished: bool = False) -> None:
        """Write progress.json. Raises `LeaseLost` if another process took the directory over in the meantime."""
        self.lease.check()
        running = {key: vars(update) for key, update in live.items()}
        write_json(self.path / PROGRESS, {"seconds": round(seconds, 2), "finished": finished, "live": running})

    def read(self) -> SweepRecord:
        """Return the sweep as it is now, from what a search has written. Raises `BadRun`."""
        self.definition()
        running = self.lease.holder() is not None
        seconds, finished, live = self.progress()
        with refuse_damage(self.path / JOURNAL):
            study = Study(self.path, write=False)
            return self.record(study, live if running else {}, seconds, finished and not running)

    def record(self, study: Study, live: Mapping[str, ProgressUpdate], seconds: float, finished: bool) -> SweepRecord:
        """Return the sweep as a record: the trials of `study`, and the progress of those in `live`."""
        definition = self.definition()
        frozen = study.trials()
        trials = [frozen[number] for number in sorted(study.numbers.values())]
        names = varying(with_defaults(trial.user_attrs["shown"]) for trial in trials)
        records = tuple(_record(trial, names, live.get(trial.user_attrs["key"])) for trial in trials)
        return SweepRecord(
            self.path.name,
            definition["command"],
            definition["strategy"],
            definition["metric"],
            definition["caches"],
            records,
            definition.get("planned", 0),
            finished,
            seconds,
        )


def _record(trial: FrozenTrial, names: list[str], update: ProgressUpdate | None) -> TrialRecord:
    attributes = trial.user_attrs
    values = with_defaults(attributes["shown"])
    curve, step = read_curve(Path(attributes["out"]))
    state = state_of(trial, update is not None)
    score = trial.value if trial.value is not None else next(reversed(trial.intermediate_values.values()), None)
    examples, seconds = attributes.get("examples", 0), attributes.get("seconds", 0.0)
    if update:
        examples, seconds, step = examples + update.examples, seconds + update.seconds, update.step
        score = update.score if update.score is not None else score
    return TrialRecord(
        number=trial.number,
        state=state,
        parameters={name: values.get(name) for name in names},
        method=attributes["method"],
        command=attributes["command"],
        out=attributes["out"],
        score=score,
        metrics=attributes.get("metrics", {}),
        curve=curve,
        steps=attributes["total"] if state == FINISHED and not curve else step,
        total=attributes["total"],
        examples=int(examples),
        seconds=seconds,
        rate=update.examples / update.seconds if update and update.seconds and state == RUNNING else 0.0,
        ended=trial.datetime_complete.timestamp() if trial.datetime_complete else None,
        error=attributes.get("error"),
        reused=bool(attributes.get("reused")),
    )
