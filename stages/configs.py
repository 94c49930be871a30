"""The options of every stage. The command line and run.json are made from these; none of them imports torch."""

from dataclasses import dataclass

from pipeline.configs import RowsConfig, TrainingConfig
from pipeline.settings import Settings, setting

METHODS = ("ft", "kd", "pkd-skip", "pkd-last")


@dataclass(frozen=True, kw_only=True)
class FinetuneTeacherConfig(TrainingConfig, RowsConfig):
    """Fine-tune a pre-trained encoder on a task; the result is a teacher."""

    model: str = setting(
        help="pre-trained encoder: a hub name, a local directory, or 'demo' (the packaged six-layer BERT)"
    )
    revision: str | None = setting(None, help="branch, tag or commit of a hub model")
    epochs: float = setting(3.0, help="passes over the training split; may be fractional", above=0)
    out: str | None = setting(None, help="run directory  [default: runs/TASK/teacher]", metavar="DIR", outcome=False)


@dataclass(frozen=True, kw_only=True)
class CacheTeacherConfig(RowsConfig):
    """Run the teacher once over every split and keep its logits and [CLS] vectors."""

    teacher: str | None = setting(
        None,
        help="a run or any hub-style directory, or a hub name  [default: runs/TASK/teacher, else the task's "
        "published BERT-base]",
        metavar="DIR",
    )
    revision: str | None = setting(None, help="branch, tag or commit of a hub model")
    cache: str | None = setting(None, help="cache directory to write  [default: data/TASK]", metavar="DIR")
    layers: str = setting(
        "all",
        help="teacher layers to keep: all (every one but the last), or numbers as 2,4",
        metavar="all|2,4",
    )
    format: str = setting("arrow", help="container of the shards", choices=("arrow", "hdf5"))
    dtype: str = setting("float16", help="stored type of the [CLS] vectors", choices=("float16", "float32"))
    precision: str = setting(
        "auto",
        help="auto is bfloat16 where the hardware computes in it",
        choices=("auto", "bfloat16", "float32"),
    )
    shard_rows: int = setting(16384, help="examples a shard", low=1)


@dataclass(frozen=True, kw_only=True)
class TrainStudentConfig(TrainingConfig):
    """Train a student from a cache; the teacher is not run, the task's rows are not read."""

    cache: str = setting(help="cache directory made by cache-teacher", metavar="DIR", outcome=False)
    method: str = setting(
        "pkd-skip",
        help="labels only; plus logits; plus [CLS] of every few, or of the last, layers",
        choices=METHODS,
    )
    student_layers: int | None = setting(None, help="student depth N  [default: half the teacher's]", low=1)
    teacher_layers: str | None = setting(
        None,
        help="teacher layers for student layers 1..N-1, by hand, as 2,4  [default: by --method]",
        metavar="2,4",
    )
    temperature: float = setting(5.0, help="T of the softened distributions", above=0)
    alpha: float = setting(0.5, help="weight of the teacher's logits; labels get 1 - alpha", low=0, high=1)
    beta: float = setting(100.0, help="weight of the [CLS] (patience) term", low=0)
    reduction: str = setting(
        "reference",
        help="how loss terms are averaged: as the authors' code, or as the paper",
        choices=("reference", "paper"),
    )
    init: str = setting(
        "teacher",
        help="'teacher', or a checkpoint with the same tokenizer: its first N layers, and a new head if it has none",
        metavar="PATH",
    )
    out: str | None = setting(
        None, help="run directory  [default: runs/TASK/METHOD-N-DIGEST]", metavar="DIR", outcome=False
    )


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig(Settings):
    """Measure a teacher or student run again."""

    run: str = setting(help="run directory", metavar="RUN", positional=True)
    split: str = setting("dev", help="dev (all dev splits), train, test, or the name of one split")
    cache: str | None = setting(
        None,
        help="cache to read the examples from  [default: the run's own, or its task's rows]",
        metavar="DIR",
    )
    precision: str = setting(
        "auto",
        help="auto is bfloat16 where the hardware computes in it",
        choices=("auto", "bfloat16", "float32"),
    )


@dataclass(frozen=True, kw_only=True)
class QuickstartConfig(Settings):
    """A teacher, its cache and four students on packaged data, and their table."""

    examples: int = setting(
        2500, help="training sentences for teacher and students; dev and cache stay whole", low=50, high=7030
    )
    full: bool = setting(False, help="all 7,030 sentences and 4 epochs; writes results/quickstart-full.*")
    seed: int = setting(0, help="seed of new weights and of dropout", low=0, high=2**32 - 1)
