"""The options of every stage. The command line and run.json are made from these; none of them imports torch."""

from dataclasses import dataclass

from pipeline.configs import RowsConfig, TrainingConfig
from pipeline.settings import Settings, setting

METHODS = ("ft", "kd", "pkd-skip", "pkd-last")
RAY_ADDRESS_HELP = "cluster of --engine ray; auto is the one of this node  [default: RAY_ADDRESS, else this machine]"


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
    label_map: str | None = setting(
        None,
        help="names of the classes in the order of the teacher's outputs, where its configuration is wrong or silent",
        metavar="A,B,…",
    )
    allow_weak_teacher: bool = setting(
        False, help="cache a teacher that is no better than the most frequent label", outcome=False
    )
    workers: int = setting(1, help="processes that compute shards (over all devices where there are several)", low=1)
    join: bool = setting(
        False, help="share the work of a cache-teacher that runs elsewhere on the same directory", outcome=False
    )
    engine: str = setting(
        "local",
        help="who computes: this machine, or the nodes of a Ray cluster with it, each with all its GPUs",
        choices=("local", "ray"),
        outcome=False,
    )
    ray_address: str | None = setting(None, help=RAY_ADDRESS_HELP, metavar="HOST:PORT|auto", outcome=False)


@dataclass(frozen=True, kw_only=True)
class StoreConfig(Settings):
    """Where a cache that is read from a URL is kept."""

    store: str | None = setting(
        None,
        help="where published caches are kept once fetched  [default: the user's cache directory]",
        metavar="DIR",
        outcome=False,
    )
    store_bytes: int = setting(
        50_000_000_000, help="bytes that the store may take; what was not used longest goes first", low=0, outcome=False
    )


@dataclass(frozen=True, kw_only=True)
class TrainStudentConfig(TrainingConfig, StoreConfig):
    """Train a student from a cache; the teacher is not run, the task's rows are not read."""

    cache: str = setting(
        help="cache made by cache-teacher, or the URL of a published one", metavar="DIR|URL", outcome=False
    )
    expect_identity: str | None = setting(
        None, help="refuse a cache of another identity; its first 12 digits or more", metavar="X", outcome=False
    )
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
        help="cache to read the examples from, or its URL  [default: the run's own, or its task's rows]",
        metavar="DIR|URL",
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


@dataclass(frozen=True, kw_only=True)
class CacheLsConfig(Settings):
    """List the caches in a directory or at a URL."""

    location: str = setting("data", help="directory or URL", metavar="[DIR|URL]", positional=True)


@dataclass(frozen=True, kw_only=True)
class CacheInfoConfig(Settings):
    """Say what a cache holds, and what each of its layers has to teach."""

    cache: str = setting(help="cache directory or URL", metavar="DIR|URL", positional=True)
    probe_examples: int = setting(2000, help="training examples of the linear probes; 0: no probes", low=0)


@dataclass(frozen=True, kw_only=True)
class CacheVerifyConfig(Settings):
    """Check every byte of a cache, and repair what is damaged."""

    cache: str = setting(help="cache directory", metavar="DIR", positional=True)
    sample: int = setting(0, help="run the teacher in the cache again on this many random rows", low=0)
    seed: int = setting(0, help="seed of the choice of these rows", low=0, high=2**32 - 1)
    repair: bool = setting(False, help="replace damaged files: from --from, else computed again")
    from_: str | None = setting(None, help="another copy of this cache to repair from", metavar="DIR|URL")
    data_dir: str | None = setting(
        None, help="where the GLUE files of the task are now, where rows have to be read again", metavar="DIR"
    )
    train_file: str | None = setting(None, help="likewise own training rows", metavar="FILE")
    dev_file: str | None = setting(None, help="likewise own dev rows", metavar="FILE")
    test_file: str | None = setting(None, help="likewise own test rows", metavar="FILE")


@dataclass(frozen=True, kw_only=True)
class CacheDiffConfig(Settings):
    """Compare two caches: what they were made from, their rows, their numbers."""

    a: str = setting(help="cache directory or URL", metavar="A", positional=True)
    b: str = setting(help="cache directory or URL", metavar="B", positional=True)


@dataclass(frozen=True, kw_only=True)
class CachePushConfig(Settings):
    """Publish a cache at a URL; what is there already is not sent again."""

    cache: str = setting(help="cache directory", metavar="DIR", positional=True)
    url: str = setting(help="where to publish it, as s3://bucket/mnli", metavar="URL", positional=True)


@dataclass(frozen=True, kw_only=True)
class CachePullConfig(Settings):
    """Copy a published cache into a directory; files that are there already are not fetched again."""

    url: str = setting(help="a published cache", metavar="URL", positional=True)
    cache: str = setting(help="cache directory to write", metavar="DIR", positional=True)


@dataclass(frozen=True, kw_only=True)
class CacheConvertConfig(Settings):
    """Write a copy of a cache in another container, or a narrower one, without running the teacher."""

    cache: str = setting(help="cache directory", metavar="DIR", positional=True)
    out: str = setting(help="cache directory to write", metavar="OUT", positional=True)
    format: str | None = setting(None, help="container  [default: as it is]", choices=("arrow", "hdf5"))
    layers: str | None = setting(None, help="teacher layers to keep, as 2,4  [default: all of them]", metavar="2,4")
    dtype: str | None = setting(
        None, help="stored type of the [CLS] vectors  [default: as it is]", choices=("float16", "float32")
    )


@dataclass(frozen=True, kw_only=True)
class CacheGcConfig(Settings):
    """Remove what dead writers left in a cache, and files that its manifest does not name."""

    cache: str = setting(help="cache directory", metavar="DIR", positional=True)
    dry_run: bool = setting(False, help="only list them")


BENCHMARKS = ("train", "peers", "cache", "reader", "startup", "growth")


@dataclass(frozen=True, kw_only=True)
class BenchmarkConfig(Settings):
    """Measure the speed of this program on this machine, against that of others."""

    what: str = setting(
        help="train, peers, cache, reader, startup, growth, all of these, or sweep",
        metavar="WHAT",
        positional=True,
        choices=(*BENCHMARKS, "all", "sweep"),
    )
    model: str = setting(
        "base",
        help="shape of the teacher, weights random: BERT-base (12 layers, 768 wide), or the packaged BERT (6, 384)",
        choices=("base", "demo"),
    )
    lengths: str = setting(
        "mnli",
        help="tokens of the examples: as in MNLI, as in RTE, or drawn from a file with one number from 1 to 512 a line",
        metavar="mnli|rte|FILE",
    )
    quick: bool = setting(False, help="a first impression in under a minute: smaller batches, two rounds")
    rounds: int = setting(5, help="rounds that are counted, at most (some benchmarks take fewer)", low=1)
    device: str = setting(
        "auto", help="auto is the GPU where there is one", choices=("auto", "cpu", "cuda"), metavar=None
    )
    out: str = setting("results", help="directory of benchmark-WHAT.json", metavar="DIR", outcome=False)


STRATEGIES = ("grid", "staged", "halving", "bayes")


@dataclass(frozen=True, kw_only=True)
class SweepConfig(StoreConfig):
    """Search for the best student over many trainings, without running the teacher."""

    cache: str | None = setting(
        None, help="cache made by cache-teacher, or a URL  [default: as the space says]", metavar="DIR|URL"
    )
    space: str = setting(
        "paper",
        help="paper (T 5, 10, 20; alpha 0.2, 0.5, 0.7; lr 5e-5, 2e-5, 1e-5; beta 10, 100, 500, 1000), or a TOML file "
        "of train-student's options",
        metavar="paper|FILE",
    )
    strategy: str = setting(
        "halving",
        help="grid: every setting; staged: KD over T, alpha and lr, then beta; halving: all a little way, the best "
        "third on; bayes: TPE proposes --trials settings",
        choices=STRATEGIES,
    )
    trials: int = setting(30, help="settings that --strategy bayes tries", low=1)
    seed: int = setting(0, help="seed of what bayes proposes", low=0, high=2**32 - 1)
    engine: str = setting(
        "local",
        help="where trials run: on this machine, or on the nodes of a Ray cluster that share this directory",
        choices=("local", "ray"),
        outcome=False,
    )
    ray_address: str | None = setting(None, help=RAY_ADDRESS_HELP, metavar="HOST:PORT|auto", outcome=False)
    gpus_per_trial: float = setting(
        1.0,
        help="GPUs that a trial, or a pack, takes with --engine ray, as 0.25; one core where no node has a GPU",
        above=0,
        outcome=False,
    )
    workers: int = setting(
        0,
        help="processes that train; they share the cores of a CPU; 0: one a GPU, else one; with --engine ray what the "
        "cluster holds",
        low=0,
        outcome=False,
    )
    pack: str = setting(
        "1",
        help="students that a process trains at once, as one model with stacked parameters; auto measures what pays",
        metavar="P|auto",
        outcome=False,
    )
    out: str | None = setting(
        None, help="sweep directory  [default: sweeps/CACHE-STRATEGY-DIGEST]", metavar="DIR", outcome=False
    )
    retry_failed: bool = setting(False, help="run trials again that failed in an earlier call", outcome=False)
    dry_run: bool = setting(False, help="only say what would be trained, how long, and what is read", outcome=False)


@dataclass(frozen=True, kw_only=True)
class SweepDirectoryConfig(Settings):
    """A sweep to look at."""

    sweep: str = setting(help="sweep directory", metavar="DIR", positional=True)


@dataclass(frozen=True, kw_only=True)
class SweepCompareConfig(SweepDirectoryConfig):
    """What a sweep says of each option."""

    by: str | None = setting(None, help="options to compare, as method,lr  [default: all that differ]", metavar="A,B")
    out: str | None = setting(None, help="also write the tables there, as JSON", metavar="FILE", outcome=False)


@dataclass(frozen=True, kw_only=True)
class SweepRegretConfig(Settings):
    """What a cheaper search loses against the whole grid."""

    grid: str = setting(help="a finished sweep with --strategy grid", metavar="GRID", positional=True)
    against: str | None = setting(
        None, help="finished sweeps of the same cache to compare with it, as sweeps/a,sweeps/b", metavar="A,B"
    )
    resamples: int = setting(1000, help="times that the dev split is halved at random", low=1)
    seed: int = setting(0, help="seed of the halves", low=0, high=2**32 - 1)
    out: str | None = setting(None, help="also write it there, as JSON", metavar="FILE", outcome=False)
