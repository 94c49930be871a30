"""The options of `evaluate`."""

from dataclasses import dataclass

from pipeline.config.options import Options, option


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig(Options):
    """Measure runs again, and compare several. Each metric has a 95 % interval, of bootstrap resamples of the examples.

    There are the scores of each class, the calibration, and the agreement with the teacher of the cache. Several runs
    are compared on the same examples, each with those that are named before it. By default a run is measured on its own
    cache, and a teacher on the rows of its task.
    """

    run: str | tuple[str, ...] = option(
        help="run directories, or exports with --file or --task; several are compared",
        metavar="RUN",
        positional=True,
        repeatable=True,
    )
    split: str = option("dev", help="dev (all dev splits), train, test, or the name of one split", group="Input")
    cache: str | tuple[str, ...] | None = option(
        None,
        help="cache or URL to read the examples from, several for a run of several  [default: the run's own cache, or "
        "its task's rows]",
        group="Input",
        metavar="DIR|URL",
        repeatable=True,
    )
    file: str | tuple[str, ...] | None = option(
        None,
        help="other rows to measure on, with labels: csv, tsv, jsonl or parquet with named columns, also .gz or .zst; "
        "a pattern in quotes or the option several times for several files",
        group="Rows",
        metavar="FILE|URL",
        repeatable=True,
    )
    text_columns: str | None = option(
        None,
        help="columns of the texts in --file, as many as in training  [default: those of the training]",
        group="Rows",
        metavar="A[,B]",
    )
    choices_columns: str | None = option(
        None,
        help="columns of the choices of a question in --file  [default: those of the training]",
        group="Rows",
        metavar="A[,B,…]",
    )
    label_column: str | None = option(
        None,
        help="column of the label in --file; rows without one are left out  [default: that of the training, or label]",
        group="Rows",
        metavar="C",
    )
    label_separator: str | None = option(
        None,
        help="text between two labels of a row in --file, in a multi-label task  [default: that of the training]",
        group="Rows",
        metavar="TEXT",
    )
    rename_labels: str | None = option(
        None,
        help="labels of --file under the names that the run has, as JSON; null leaves their rows out",
        group="Rows",
        metavar='\'{"Pos": "pos", "-": null}\'',
    )
    task: str | None = option(
        None,
        help="task to measure on, of those that finetune-teacher knows by name: its rows from --data-dir, a package or "
        "the hub  [default with --data-dir: the run's own]",
        group="Rows",
    )
    data_dir: str | None = option(
        None, help="directory of the official files of the GLUE task or of RACE", group="Rows", metavar="DIR"
    )
    allow_changed_rows: bool = option(
        False,
        help="measure on the task's rows although they are no longer those that the run was trained with",
        group="Input",
    )
    precision: str = option(
        "auto",
        help="number format of matrix products; auto: that of the run's training, if the hardware supports it",
        group="Compute",
        choices=("auto", "bfloat16", "float32"),
    )
