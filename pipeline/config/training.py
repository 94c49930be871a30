"""The options of the commands that train and that run a teacher."""

from dataclasses import dataclass

from pipeline.config.methods import METHOD_CHOICES
from pipeline.config.options import GO_ON, Options, option
from pipeline.config.rows import CacheRowsConfig, RowsConfig
from pipeline.config.shared import (
    CONTAINER_NAMES,
    StoreConfig,
    TrainingConfig,
    epochs_option,
    metric_option,
    precision_option,
    ray_address_option,
    revision_option,
    seed_option,
)
from pipeline.errors import BadOption

TARGET_KINDS = ("probabilities", "logits", "logprobs")  # of the numbers in target columns


@dataclass(frozen=True, kw_only=True)
class FinetuneTeacherConfig(TrainingConfig, RowsConfig):
    """Fine-tune a pre-trained encoder on a task; the result is a teacher."""

    model: str = option(
        help="pre-trained encoder: a hub name, a local directory, or demo (the packaged six-layer BERT)", group="Model"
    )
    revision: str | None = revision_option("Model")
    epochs: float = epochs_option(3.0)
    out: str | None = option(
        None,
        help="run directory to write  [default: runs/TASK/teacher]",
        group="Output",
        metavar="DIR",
        affects_result=False,
    )


@dataclass(frozen=True, kw_only=True)
class CacheTeacherConfig(CacheRowsConfig):
    """Run the teacher once over every split and keep what students need.

    The cache is self-contained: a copy of its directory trains students on any machine.
    """

    after_stop = GO_ON

    teacher: str | None = option(
        None,
        help="teacher's run directory, any hub-style directory, or a hub name  [default: runs/TASK/teacher, else the "
        "task's published BERT-base]",
        group="Teacher",
        metavar="DIR",
    )
    revision: str | None = revision_option("Teacher")
    cache: str | None = option(
        None, help="cache directory to write  [default: data/TASK]", group="Cache", metavar="DIR"
    )
    layers: str = option(
        "all",
        help="teacher layers to keep: all (every layer but the last), or their numbers, for example 2,4",
        group="Cache",
        metavar="all|2,4",
    )
    format: str = option("arrow", help="container of the shards", group="Cache", choices=CONTAINER_NAMES)
    dtype: str = option(
        "float16", help="stored type of the [CLS] vectors", group="Cache", choices=("float16", "float32")
    )
    no_text: bool = option(
        False,
        help="leave the texts of the rows out: students then need the teacher's tokenizer",
        group="Cache",
        omit_default=True,
    )
    precision: str = precision_option()
    shard_rows: int = option(16384, help="examples per shard", group="Cache", low=1)
    label_map: str | None = option(
        None,
        help="class names in the order of the teacher's outputs, or as JSON {teacher's name: task's name}, if its "
        "configuration has none or wrong ones",
        group="Teacher",
        metavar="A,B,…|JSON",
    )
    target_columns: str | None = option(
        None,
        help="columns of your rows with what a teacher said of them, in place of a model that runs here: one column of "
        "lists (in the order of the classes), of objects {class: number} or of names of classes; or a column for each "
        "class, as A=CLASS where their names do not say which. With --regression, one column of scores",
        group="Teacher",
        metavar="A[,B=CLASS,…]",
        omit_default=True,
    )
    target_kind: str | None = option(
        None,
        help="the numbers in the target columns  [default: probabilities; scores with --regression]",
        group="Teacher",
        choices=TARGET_KINDS,
        omit_default=True,
    )
    target_smoothing: float = option(
        0.01,
        help="probability that a target with the name of a class alone spreads over all classes",
        group="Teacher",
        above=0,
        high=0.5,
        omit_default=True,
    )
    teacher_name: str | None = option(
        None,
        help="name of the teacher of the target columns, for example gpt-4o",
        group="Teacher",
        metavar="NAME",
        omit_default=True,
    )
    allow_weak_teacher: bool = option(
        False,
        help="accept a teacher that is not better than always predicting the most frequent label",
        group="Teacher",
        affects_result=False,
    )
    workers: int = option(
        1, help="processes that compute shards, distributed over the GPUs if there are several", group="Compute", low=1
    )
    join: bool = option(
        False,
        help="share the work of a cache-teacher that runs elsewhere on the same directory",
        group="Compute",
        affects_result=False,
    )
    engine: str = option(
        "local",
        help="local: this machine computes; ray: all nodes of a Ray cluster compute, each with all its GPUs",
        group="Compute",
        choices=("local", "ray"),
        affects_result=False,
    )
    ray_address: str | None = ray_address_option()


@dataclass(frozen=True, kw_only=True)
class TrainStudentConfig(TrainingConfig, StoreConfig):
    """Train a student from a cache: no teacher, no raw data.

    Examples without labels, of the transfer split or among the training rows, are trained on too, with everything but
    the loss on labels. A method is what the student learns from:

      ft        labels only
      pseudo    labels, and the teacher's predictions as labels of examples that do not have one
      kd        labels, and the teacher's logits
      pkd-skip  as kd, and the [CLS] vectors of evenly spaced teacher layers
      pkd-last  as kd, and the [CLS] vectors of the last teacher layers
    """

    cache: str | tuple[str, ...] | None = option(
        None,
        help="cache written by cache-teacher, or the URL of a published one; several of one teacher are trained on "
        "together, and evaluated on the first one's dev rows. Required without --from-run",
        group="Input",
        metavar="DIR|URL",
        affects_result=False,
        alike_in_pack=True,
        repeatable=True,
    )
    from_run: str | None = option(
        None,
        help="finished run of a student to repeat: its options and its cache, with the options given here in their "
        "place",
        group="Input",
        metavar="RUN",
        affects_result=False,
    )
    expect_identity: str | None = option(
        None,
        help="refuse a cache of another identity (see cache ls, or cache_identity of a run); at least its first 12 "
        "digits",
        group="Input",
        metavar="X",
        affects_result=False,
    )
    method: str = option("pkd-skip", help="what the student learns from", group="Distillation", choices=METHOD_CHOICES)
    student_layers: int | None = option(
        None,
        help="number of student layers N  [default: half the teacher's]",
        group="Distillation",
        low=1,
        alike_in_pack=True,
    )
    teacher_layers: str | None = option(
        None,
        help="teacher layers that student layers 1..N-1 match, for example 2,4  [default: by --method]",
        group="Distillation",
        metavar="L1,L2,…",
    )
    temperature: float = option(5.0, help="softmax temperature T for distillation", group="Distillation", above=0)
    alpha: float = option(
        0.5,
        help="weight of the loss on the teacher's logits; the loss on labels has 1 - alpha",
        group="Distillation",
        low=0,
        high=1,
    )
    beta: float = option(
        100.0, help="weight of the loss on [CLS] vectors (the patience term)", group="Distillation", low=0
    )
    metric: str | None = metric_option(
        "metric that decides which weights and which trials are best  [default: the cache's first]", "Evaluation"
    )
    reduction: str = option(
        "reference",
        help="averaging of loss terms: reference: as in the authors' code; batchmean: the loss on logits summed over "
        "classes, as most programs do; paper: as in the paper",
        group="Distillation",
        choices=("reference", "batchmean", "paper"),
    )
    init: str = option(
        "teacher",
        help="first weights: teacher; a checkpoint, of which the first N layers are used (with a new head if it has "
        "none), and its tokenizer on the texts of the cache; or random, for new weights drawn with --seed",
        group="Distillation",
        metavar="teacher|PATH|random",
        alike_in_pack=True,
    )
    init_layers: str | None = option(
        None,
        help="layers of the teacher, or of the checkpoint of --init, that student layers 1..N start from, for example "
        "1,3,5  [default: 1..N]",
        group="Distillation",
        metavar="L1,L2,…",
        omit_default=True,
    )
    student_config: str | None = option(
        None,
        help="config.json of the student that --init random starts: its architecture, size and number of layers",
        group="Distillation",
        metavar="FILE",
        omit_default=True,
        alike_in_pack=True,
    )
    project: bool = option(
        False,
        help="for a student of another width than the teacher: compare [CLS] vectors after one learned linear map per "
        "matched layer, which is not part of the student",
        group="Distillation",
        omit_default=True,
        alike_in_pack=True,
    )
    max_transfer_examples: int = option(
        0,
        help="maximum number of examples of the transfer split, a subset drawn with --data-seed; 0: all",
        group="Limits",
        low=0,
        omit_default=True,
        alike_in_pack=True,
    )
    out: str | None = option(
        None,
        help="run directory to write  [default: runs/TASK/METHOD-N-DIGEST]",
        group="Output",
        metavar="DIR",
        affects_result=False,
    )

    def __post_init__(self) -> None:
        """Check the values. Raises `BadOption` where there is nothing to train from, too."""
        super().__post_init__()
        if self.cache is None and self.from_run is None:
            raise BadOption(
                "there is no cache to train from. Name one with --cache, or a run to repeat with --from-run"
            )

    @property
    def caches(self) -> str | tuple[str, ...]:
        """The location of the cache, or of several. There is none while a run to repeat has not been read."""
        assert self.cache is not None
        return self.cache


@dataclass(frozen=True, kw_only=True)
class QuickstartConfig(Options):
    """Distil the packaged BERT on film reviews of which few have a label: a teacher, one cache, students, a table."""

    after_stop = GO_ON

    labels: int = option(256, help="labelled sentences, half of them of each class", low=2, high=1000)
    examples: int = option(2500, help="sentences without labels that students learn from", low=50, high=6000)
    full: bool = option(False, help="all 7,030 sentences and 4 epochs; writes results/quickstart-full.*")
    seed: int = seed_option("seed of new weights and of dropout", group=None)
