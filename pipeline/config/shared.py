"""The options that several commands share: training, compute, and downloads of published caches."""

from dataclasses import dataclass
from typing import Any

from pipeline.config.options import RESUME, Group, Options, option

CONTAINER_NAMES = ("arrow", "hdf5")  # of CONTAINERS in pipeline/cache/format/containers.py


def precision_option() -> Any:
    """Return the field of --precision."""
    return option(
        "auto",
        help="number format of matrix products; auto: bfloat16 if the hardware supports it",
        group="Compute",
        choices=("auto", "bfloat16", "float32"),
        alike_in_pack=True,
    )


def revision_option(group: Group) -> Any:
    """Return the field of --revision."""
    return option(None, help="branch, tag or commit of a hub model  [default: the main branch]", group=group)


def ray_address_option() -> Any:
    """Return the field of --ray-address."""
    return option(
        None,
        help="cluster of --engine ray; auto: the cluster of this node  [default: RAY_ADDRESS, else this machine]",
        group="Compute",
        metavar="HOST:PORT|auto",
        affects_result=False,
    )


def seed_option(
    help: str, group: Group | None = "Seeds", alike_in_pack: bool = False, omit_default: bool = False
) -> Any:
    """Return a field of a seed: a whole number that fits in 32 bits."""
    marks: dict[str, Any] = {"alike_in_pack": alike_in_pack, "omit_default": omit_default}
    return option(0, help=help, group=group, low=0, high=2**32 - 1, **marks)


TRACKERS = ("tensorboard", "mlflow", "wandb", "trackio")  # of TRACKERS in pipeline/training/trackers/table.py


def track_option(what: str) -> Any:
    """Return the field of --track."""
    return option(
        None,
        help=f"tracker that shows {what} while it is trained; for tensorboard: tensorboard --logdir runs",
        group="Output",
        choices=TRACKERS,
        affects_result=False,
    )


METRIC_FORMS = (
    "accuracy, f1, f1:CLASS, macro_f1, micro_f1, matthews_correlation, average_precision, average_precision:CLASS, "
    "pearson or spearman"
)


def metric_option(help: str, group: Group) -> Any:
    """Return the field of --metric."""
    return option(None, help=f"{help}: {METRIC_FORMS}", group=group, metavar="METRIC", omit_default=True)


def epochs_option(default: float) -> Any:
    """Return the field of --epochs."""
    return option(default, help="passes over the training split; may be fractional", group="Training", above=0)


def class_weights_option() -> Any:
    """Return the field of --class-weights."""
    return option(
        "none",
        help="weights of the classes in the loss on labels: none: all alike; balanced: by their frequency in the "
        "training rows, so that a rare class counts as much as a frequent one",
        group="Training",
        choices=("none", "balanced"),
        omit_default=True,
    )


@dataclass(frozen=True, kw_only=True)
class TrainingConfig(Options):
    """The options that training a teacher and training a student have in common."""

    after_stop = RESUME

    epochs: float = epochs_option(4.0)
    max_steps: int = option(
        0,
        help="maximum number of optimizer steps; the learning rate schedule is shortened too; 0: no limit",
        group="Limits",
        low=0,
    )
    max_train_examples: int = option(
        0,
        help="maximum number of training examples, a subset drawn with --data-seed; 0: all",
        group="Limits",
        low=0,
        alike_in_pack=True,
    )
    batch_size: int = option(
        32, help="examples per batch, over all processes together", group="Training", low=1, alike_in_pack=True
    )
    grad_accumulation: int = option(1, help="batches per optimizer step", group="Training", low=1, alike_in_pack=True)
    lr: float = option(5e-5, help="peak learning rate of AdamW", group="Training", above=0)
    warmup: float = option(
        0.1, help="fraction of the steps in which the learning rate rises linearly", group="Training", low=0, high=1
    )
    weight_decay: float = option(
        0.01, help="weight decay of AdamW; not applied to biases and LayerNorms", group="Training", low=0
    )
    class_weights: str = class_weights_option()
    seed: int = seed_option("seed of new weights and of dropout")
    data_seed: int = seed_option("seed of the order of the examples", alike_in_pack=True)
    eval_every: int = option(
        0,
        help="optimizer steps between evaluations; 0: evaluate at the end of each epoch",
        group="Evaluation",
        low=0,
        alike_in_pack=True,
    )
    early_stop: int = option(
        0, help="stop after this many evaluations without improvement; 0: never", group="Evaluation", low=0
    )
    select: str = option(
        "best",
        help="weights to keep: best: of the best evaluation on the dev split; last: of the last step",
        group="Evaluation",
        choices=("best", "last"),
    )
    precision: str = precision_option()
    log_every: int = option(
        10, help="optimizer steps between lines of log.jsonl", group="Output", low=1, affects_result=False
    )
    checkpoint_seconds: float = option(
        60.0, help="seconds between checkpoints; 0: one after every step", group="Output", low=0, affects_result=False
    )
    track: str | None = track_option("the run")
    track_group: str | None = option(
        None,
        help="name that the tracker shows several runs under, for example those of several seeds",
        group="Output",
        metavar="NAME",
        affects_result=False,
    )
    resume: bool = option(
        False,
        help="continue from the checkpoint in --out, or start if there is none",
        group="Output",
        affects_result=False,
    )


@dataclass(frozen=True, kw_only=True)
class StoreConfig(Options):
    """The directory in which downloaded caches are kept."""

    store: str | None = option(
        None,
        help="directory of downloaded caches  [default: PKD_STORE, else the user's cache directory]",
        group="Downloads",
        metavar="DIR",
        affects_result=False,
    )
    store_bytes: int = option(
        50_000_000_000,
        help="maximum size of --store in bytes; the least recently used files are deleted first",
        group="Downloads",
        low=0,
        affects_result=False,
    )
