"""The options of the stages that train, run a teacher, and measure again."""

from dataclasses import dataclass

from pipeline.config.methods import METHOD_CHOICES
from pipeline.config.options import Options, option
from pipeline.config.shared import CONTAINER_NAMES, RowsConfig, TrainingConfig

RAY_ADDRESS_HELP = "cluster of --engine ray; auto is the one of this node  [default: RAY_ADDRESS, else this machine]"


@dataclass(frozen=True, kw_only=True)
class FinetuneTeacherConfig(TrainingConfig, RowsConfig):
    """Fine-tune a pre-trained encoder on a task; the result is a teacher."""

    model: str = option(
        help="pre-trained encoder: a hub name, a local directory, or 'demo' (the packaged six-layer BERT)"
    )
    revision: str | None = option(None, help="branch, tag or commit of a hub model")
    epochs: float = option(3.0, help="passes over the training split; may be fractional", above=0)
    out: str | None = option(
        None, help="run directory  [default: runs/TASK/teacher]", metavar="DIR", affects_result=False
    )


@dataclass(frozen=True, kw_only=True)
class CacheTeacherConfig(RowsConfig):
    """Run the teacher once over every split and keep what students need.

    The cache is self-contained: a copy of its directory trains students on any machine.
    """

    teacher: str | None = option(
        None,
        help="a run or any hub-style directory, or a hub name  [default: runs/TASK/teacher, else the task's "
        "published BERT-base]",
        metavar="DIR",
    )
    revision: str | None = option(None, help="branch, tag or commit of a hub model")
    cache: str | None = option(None, help="cache directory to write  [default: data/TASK]", metavar="DIR")
    layers: str = option(
        "all",
        help="teacher layers to keep: all (every one but the last), or numbers as 2,4",
        metavar="all|2,4",
    )
    format: str = option("arrow", help="container of the shards", choices=CONTAINER_NAMES)
    dtype: str = option("float16", help="stored type of the [CLS] vectors", choices=("float16", "float32"))
    precision: str = option(
        "auto",
        help="auto is bfloat16 where the hardware computes in it",
        choices=("auto", "bfloat16", "float32"),
    )
    shard_rows: int = option(16384, help="examples a shard", low=1)
    label_map: str | None = option(
        None,
        help="names of the classes in the order of the teacher's outputs, where its configuration is wrong or silent",
        metavar="A,B,…",
    )
    allow_weak_teacher: bool = option(
        False, help="cache a teacher that is no better than the most frequent label", affects_result=False
    )
    workers: int = option(1, help="processes that compute shards (over all devices where there are several)", low=1)
    join: bool = option(
        False, help="share the work of a cache-teacher that runs elsewhere on the same directory", affects_result=False
    )
    engine: str = option(
        "local",
        help="who computes: this machine, or the nodes of a Ray cluster with it, each with all its GPUs",
        choices=("local", "ray"),
        affects_result=False,
    )
    ray_address: str | None = option(None, help=RAY_ADDRESS_HELP, metavar="HOST:PORT|auto", affects_result=False)


@dataclass(frozen=True, kw_only=True)
class StoreConfig(Options):
    """Where a cache that is read from a URL is kept."""

    store: str | None = option(
        None,
        help="where published caches are kept once fetched  [default: PKD_STORE, else the user's cache directory]",
        metavar="DIR",
        affects_result=False,
    )
    store_bytes: int = option(
        50_000_000_000,
        help="bytes that the store may take; what was not used longest goes first",
        low=0,
        affects_result=False,
    )


@dataclass(frozen=True, kw_only=True)
class TrainStudentConfig(TrainingConfig, StoreConfig):
    """Train a student from a cache: no teacher, no raw data, no tokenisation.

    \b
    ft        labels only
    kd        and the teacher's logits
    pkd-skip  and the [CLS] vectors of every few teacher layers
    pkd-last  and the [CLS] vectors of the last ones
    """

    cache: str = option(
        help="cache made by cache-teacher, or the URL of a published one",
        metavar="DIR|URL",
        affects_result=False,
        alike_in_pack=True,
    )
    expect_identity: str | None = option(
        None, help="refuse a cache of another identity; its first 12 digits or more", metavar="X", affects_result=False
    )
    method: str = option(
        "pkd-skip",
        help="labels only; plus logits; plus [CLS] of every few, or of the last, layers",
        choices=METHOD_CHOICES,
    )
    student_layers: int | None = option(
        None, help="student depth N  [default: half the teacher's]", low=1, alike_in_pack=True
    )
    teacher_layers: str | None = option(
        None,
        help="teacher layers for student layers 1..N-1, by hand, as 2,4  [default: by --method]",
        metavar="2,4",
    )
    temperature: float = option(5.0, help="T of the softened distributions", above=0)
    alpha: float = option(0.5, help="weight of the teacher's logits; labels get 1 - alpha", low=0, high=1)
    beta: float = option(100.0, help="weight of the [CLS] (patience) term", low=0)
    reduction: str = option(
        "reference",
        help="how loss terms are averaged: as the authors' code, or as the paper",
        choices=("reference", "paper"),
    )
    init: str = option(
        "teacher",
        help="'teacher', or a checkpoint with the same tokenizer: its first N layers, and a new head if it has none",
        metavar="PATH",
        alike_in_pack=True,
    )
    out: str | None = option(
        None, help="run directory  [default: runs/TASK/METHOD-N-DIGEST]", metavar="DIR", affects_result=False
    )


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig(Options):
    """Measure a teacher or student run again, from its cache or its task."""

    run: str = option(help="run directory", metavar="RUN", positional=True)
    split: str = option("dev", help="dev (all dev splits), train, test, or the name of one split")
    cache: str | None = option(
        None,
        help="cache to read the examples from, or its URL  [default: the run's own, or its task's rows]",
        metavar="DIR|URL",
    )
    precision: str = option(
        "auto",
        help="auto is bfloat16 where the hardware computes in it",
        choices=("auto", "bfloat16", "float32"),
    )


@dataclass(frozen=True, kw_only=True)
class QuickstartConfig(Options):
    """Distil the packaged six-layer BERT on packaged film reviews: a teacher, one cache, four students, a table."""

    examples: int = option(
        2500, help="training sentences for teacher and students; dev and cache stay whole", low=50, high=7030
    )
    full: bool = option(False, help="all 7,030 sentences and 4 epochs; writes results/quickstart-full.*")
    seed: int = option(0, help="seed of new weights and of dropout", low=0, high=2**32 - 1)
