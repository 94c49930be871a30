"""Models of benchmark `inference`: finished students and their teachers, or the packaged BERT and its first layers."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.cache.open import open_caches
from pipeline.cache.teacher_files import load_student
from pipeline.config.options import values_of
from pipeline.data.task_kinds import SINGLE_LABEL
from pipeline.errors import BadCache, BadModel, BadOption, BadRun, one_line
from pipeline.models.checkpoints import Head, load_classifier, locate
from pipeline.models.encoders import sequences_of
from pipeline.training.run_reader import MODEL, RUN, STARTED, read_run

TEACHER = "teacher"
DEMO_LAYERS = 3
DEMO_HEAD = Head(2, ("negative", "positive"), SINGLE_LABEL.problem_type)


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A model of torch in float32, under the name that tables give it.

    `teacher` is the name of the model that it is compared with; None for a teacher.
    """

    name: str
    module: Any
    teacher: str | None = None


def load_models(runs: Sequence[str], teacher: str | None) -> list[LoadedModel]:
    """Return the teachers, then the students: of these runs, or without any the packaged BERT and its first layers.

    A student's teacher is the one that `teacher` names, by default that of its cache. Raises a `DistillError` for a
    run, a cache or a teacher that cannot be used.
    """
    if not runs:
        return _demo()
    names = _short_names(runs)
    records = {run: _record(Path(run), teacher) for run in names}
    if teacher is not None:
        shared = LoadedModel(TEACHER, _named_teacher(teacher))
        teachers = dict.fromkeys(names, shared)
    else:
        teachers = _cached_teachers(records, names)
    students = [
        LoadedModel(names[run], load_classifier(str(Path(run) / MODEL), safetensors_only=True), teachers[run].name)
        for run in names
    ]
    for run, student in zip(names, students, strict=True):
        _check_comparable(run, student, teachers[run])
    return [*dict.fromkeys(teachers.values()), *students]


def _demo() -> list[LoadedModel]:
    name = locate("demo")
    teacher = LoadedModel(TEACHER, load_classifier(name, head=DEMO_HEAD))
    student = load_classifier(name, head=DEMO_HEAD, layers=DEMO_LAYERS)
    return [teacher, LoadedModel(f"its first {DEMO_LAYERS} layers", student, TEACHER)]


def _short_names(runs: Sequence[str]) -> dict[str, str]:
    """Return a name for each of these directories: the last part of its path where no other has the same."""
    last = {run: one_line(Path(run).resolve().name, 60) for run in runs}
    taken = [TEACHER, *last.values()]
    return {run: name if name and taken.count(name) == 1 else one_line(run, 100) for run, name in last.items()}


def _record(run: Path, teacher: str | None) -> dict[str, Any]:
    """Return the record of a finished run that has its model. Raises `BadRun` for another, and for one of a teacher."""
    record = read_run(run)
    if not (run / MODEL).is_dir():
        raise BadRun(f"{run} does not have its {MODEL}/ any more. Take it from a copy, or train the run again")
    if teacher is None and not record.get("cache"):
        raise BadRun(
            f"{run} is the run of a teacher. Name the run of a student, and its teacher, where it is not the one of "
            "the student's cache, with --teacher"
        )
    return record


def _named_teacher(name: str) -> Any:
    """Return the model of a run, a directory or the hub. Raises `BadModel`."""
    directory = Path(name)
    if (directory / STARTED).is_file() and not (directory / RUN).is_file():
        raise BadModel(f"{directory} is unfinished: run its command again with --resume")
    return load_classifier(locate(name))


def _cached_teachers(records: dict[str, dict[str, Any]], names: dict[str, str]) -> dict[str, LoadedModel]:
    """Return the teacher of each run, from its cache; runs of the same teacher share it."""
    caches = {run: _cache(run, values_of(record["cache"])) for run, record in records.items()}
    digests = {run: cache.manifest.fields.teacher_weights for run, cache in caches.items()}
    loaded: dict[str, LoadedModel] = {}
    for run, digest in digests.items():
        if digest not in loaded:
            depth = caches[run].manifest.model.depth
            caches[run].check_teacher(range(1, depth + 1))
            name = TEACHER if len(set(digests.values())) == 1 else f"{TEACHER} of {names[run]}"
            loaded[digest] = LoadedModel(name, load_student(caches[run].teacher, depth, depth))
    return {run: loaded[digest] for run, digest in digests.items()}


def _cache(run: str, names: tuple[Any, ...]) -> Any:
    """Return the cache of a run, or its joined ones. Raises `BadCache` where it is gone, or has no teacher."""
    way_on = "Name the teacher to compare with: --teacher DIR"
    for name in map(str, names):
        if "://" not in name and not Path(name).is_dir():
            raise BadCache(f"the cache of {run} was {one_line(name)}, which does not exist. {way_on}")
    cache = open_caches(tuple(map(str, names)))
    if not cache.manifest.has_teacher:
        raise BadCache(f"{cache.location} does not have a teacher: its targets were made elsewhere. {way_on}")
    return cache


def _check_comparable(run: str, student: LoadedModel, teacher: LoadedModel) -> None:
    """Raise `BadOption` unless both take as many sequences as one example."""
    ours, theirs = (sequences_of(model.module.config) for model in (student, teacher))
    if ours != theirs:
        raise BadOption(f"{run} takes {ours} sequences per example, and its teacher {theirs}. Name another --teacher")
