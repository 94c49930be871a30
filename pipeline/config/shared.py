"""Options that several stages share: where a task's rows come from, and how a model is trained."""

from dataclasses import dataclass

from pipeline.config.options import Options, option

CONTAINER_NAMES = ("arrow", "hdf5")  # of CONTAINERS in pipeline/cache/format/containers.py


@dataclass(frozen=True, kw_only=True)
class RowsConfig(Options):
    """Where the rows of a task come from."""

    task: str = option(
        help="cola, sst2, mrpc, stsb, qqp, mnli, qnli, rte, wnli, movie-reviews, or any name together with --train-file"
    )
    data_dir: str | None = option(
        None,
        help="directory of the official GLUE files of the task; without it they come from the hub",
        metavar="DIR",
        affects_result=False,
    )
    train_file: str | None = option(
        None,
        help="own training rows: csv, tsv (no quoting), jsonl or parquet, with a header",
        metavar="FILE",
        affects_result=False,
    )
    dev_file: str | None = option(None, help="own dev rows, same columns", metavar="FILE", affects_result=False)
    test_file: str | None = option(
        None, help="own test rows; may lack the label column", metavar="FILE", affects_result=False
    )
    text_columns: str | None = option(None, help="one text column, or two with a comma: A,B", metavar="A[,B]")
    label_column: str | None = option(None, help="column of the class: any strings or whole numbers", metavar="C")
    max_length: int = option(128, help="longest input in tokens, special tokens included", low=8)


@dataclass(frozen=True, kw_only=True)
class TrainingConfig(Options):
    """Options common to training a teacher and a student."""

    epochs: float = option(4.0, help="passes over the training split; may be fractional", above=0)
    max_steps: int = option(0, help="stop after this many optimizer steps, schedule included; 0: no limit", low=0)
    max_train_examples: int = option(
        0, help="train on a subset of this many examples, drawn with --data-seed; 0: all", low=0, alike_in_pack=True
    )
    batch_size: int = option(32, help="examples a batch, over all processes together", low=1, alike_in_pack=True)
    grad_accumulation: int = option(1, help="batches an optimizer step", low=1, alike_in_pack=True)
    lr: float = option(5e-5, help="peak learning rate of AdamW", above=0)
    warmup: float = option(0.1, help="share of the steps with a linearly rising learning rate", low=0, high=1)
    weight_decay: float = option(0.01, help="AdamW weight decay; biases and LayerNorms have none", low=0)
    seed: int = option(0, help="seed of new weights and of dropout", low=0, high=2**32 - 1)
    data_seed: int = option(0, help="seed of the order of the examples", low=0, high=2**32 - 1, alike_in_pack=True)
    eval_every: int = option(
        0, help="optimizer steps between two evaluations; 0: one at the end of each epoch", low=0, alike_in_pack=True
    )
    early_stop: int = option(0, help="stop after this many evaluations without improvement; 0: never", low=0)
    select: str = option(
        "best",
        help="weights to keep: of the best evaluation on the dev split, or the last",
        choices=("best", "last"),
    )
    precision: str = option(
        "auto",
        help="auto is bfloat16 where the hardware computes in it",
        choices=("auto", "bfloat16", "float32"),
        alike_in_pack=True,
    )
    log_every: int = option(10, help="optimizer steps between two lines of log.jsonl", low=1, affects_result=False)
    checkpoint_seconds: float = option(
        60.0, help="seconds between two checkpoints; 0: one after every step", low=0, affects_result=False
    )
    resume: bool = option(
        False, help="go on from the checkpoint in --out, or start if there is none", affects_result=False
    )
