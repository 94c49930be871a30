"""Models of benchmark `inference`: finished students and their teachers, or the packaged BERT and its first layers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.cache.open import open_caches
from pipeline.cache.teacher_files import load_student
from pipeline.config.options import values_of
from pipeline.data.task_kinds import SINGLE_LABEL
from pipeline.errors import BadCache, BadModel, BadOption, BadRun, one_line
from pipeline.inference.model_source import ModelSource, find_model
from pipeline.models.checkpoints import Head, load_classifier, locate
from pipeline.models.encoders import sequences_of
from pipeline.training.run_reader import RUN, STARTED, check_caches_exist

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
    sources = {run: _source(run, teacher) for run in names}
    if teacher is not None:
        shared = LoadedModel(TEACHER, _named_teacher(teacher))
        teachers = dict.fromkeys(names, shared)
    else:
        teachers = _cached_teachers(sources, names)
    students = [
        LoadedModel(names[run], load_classifier(str(source.model), safetensors_only=True), teachers[run].name)
        for run, source in sources.items()
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


def _source(run: str, teacher: str | None) -> ModelSource:
    """Return where a finished run is. Raises `BadRun` for an unfinished one, an export, and the run of a teacher."""
    source = find_model(run)
    if source.is_export:
        raise BadRun(f"{one_line(run)} is an export. Name the run that it was made from: its forms are made here again")
    if teacher is None and not source.values.get("cache"):
        raise BadRun(
            f"{one_line(run)} is the run of a teacher. Name the run of a student, and its teacher, where it is not the "
            "one of the student's cache, with --teacher"
        )
    return source


def _named_teacher(name: str) -> Any:
    """Return the model of a run, a directory or the hub. Raises `BadModel`."""
    directory = Path(name)
    if (directory / STARTED).is_file() and not (directory / RUN).is_file():
        raise BadModel(f"{one_line(directory)} is unfinished: run its command again with --resume")
    return load_classifier(locate(name))


def _cached_teachers(sources: Mapping[str, ModelSource], names: Mapping[str, str]) -> dict[str, LoadedModel]:
    """Return the teacher of each run, from its cache; one for all whose teachers differ in their weights alone."""
    caches = {run: _cache(run, values_of(source.values["cache"])) for run, source in sources.items()}
    digests = {run: cache.manifest.fields.teacher_config for run, cache in caches.items()}
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
    locations = tuple(map(str, names))
    check_caches_exist(locations, run, way_on)
    cache = open_caches(locations)
    if not cache.manifest.has_teacher:
        raise BadCache(f"{one_line(cache.location)} does not have a teacher: its targets were made elsewhere. {way_on}")
    return cache


def _check_comparable(run: str, student: LoadedModel, teacher: LoadedModel) -> None:
    """Raise `BadOption` unless both take as many sequences as one example."""
    ours, theirs = (sequences_of(model.module.config) for model in (student, teacher))
    if ours != theirs:
        raise BadOption(
            f"{one_line(run)} takes {ours} sequences per example, and its teacher {theirs}. Name another --teacher"
        )
