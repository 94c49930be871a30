"""The options that name the rows of a task."""

import dataclasses
from dataclasses import dataclass

from pipeline.config.options import LOCAL, Options, option


@dataclass(frozen=True, kw_only=True)
class RowsConfig(Options):
    """The source of a task's rows."""

    task: str = option(
        help="cola, sst2, mrpc, stsb, qqp, mnli, qnli, rte, wnli, movie-reviews, or any name together with "
        "--train-file",
        group="Rows",
    )
    data_dir: str | None = option(
        None,
        help="directory of the official GLUE files of the task  [default: download from the hub]",
        group="Rows",
        metavar="DIR",
        affects_result=False,
    )
    train_file: str | None = option(
        None,
        help="your training rows: csv, tsv (no quoting), jsonl or parquet, with a header",
        group="Rows",
        metavar="FILE",
        affects_result=False,
    )
    dev_file: str | None = option(
        None, help="your dev rows, with the same columns", group="Rows", metavar="FILE", affects_result=False
    )
    test_file: str | None = option(
        None,
        help="your test rows; the label column is optional",
        group="Rows",
        metavar="FILE",
        affects_result=False,
    )
    text_columns: str | None = option(
        None, help="one text column, or two separated by a comma", group="Rows", metavar="A[,B]"
    )
    label_column: str | None = option(
        None, help="column of the class: any strings or whole numbers", group="Rows", metavar="C"
    )
    max_length: int = option(
        128, help="maximum length of an input in tokens, special tokens included", group="Rows", low=8
    )


ROW_PATHS = tuple(field.name for field in dataclasses.fields(RowsConfig) if field.metadata["metavar"] in LOCAL)


@dataclass(frozen=True, kw_only=True)
class MovedRowsConfig(Options):
    """Current paths of rows that have moved since a cache was made; its fields are `ROW_PATHS`."""

    data_dir: str | None = option(
        None, help="current directory of the task's GLUE files, if it has moved", group="Repair", metavar="DIR"
    )
    train_file: str | None = option(
        None, help="current path of your training file, if it has moved", group="Repair", metavar="FILE"
    )
    dev_file: str | None = option(
        None, help="current path of your dev file, if it has moved", group="Repair", metavar="FILE"
    )
    test_file: str | None = option(
        None, help="current path of your test file, if it has moved", group="Repair", metavar="FILE"
    )
