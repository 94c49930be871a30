"""The options of the command `predict`."""

from dataclasses import dataclass

from pipeline.config.options import GO_ON, Options, option
from pipeline.config.rows import SHORTEST_INPUT

STDIN = "-"


@dataclass(frozen=True, kw_only=True)
class PredictConfig(Options):
    """Predict labels and probabilities with a finished teacher, student or export; no cache is needed.

    Rows keep their order and all their columns. New ones: prediction (a label; a list of labels in a multi-label task;
    a number in regression), and per class probability_LABEL in csv and parquet, or probabilities in jsonl and where
    classes are many. A call that breaks off goes on where it stopped; a result is there only when it is complete.

    Lines of stdin are texts, or pairs separated by a tab, or JSON. Each becomes a JSON line on stdout as soon as its
    batch is done; stdout has these lines alone, and the summary goes to stderr.
    """

    after_stop = GO_ON

    run: str = option(help="run directory, or one that the command export wrote", metavar="RUN|EXPORT", positional=True)
    file: str | tuple[str, ...] | None = option(
        None,
        help="rows to predict: csv, tsv, jsonl or parquet with named columns, also .gz or .zst; a pattern in quotes or "
        "the option several times for several files; - for lines on stdin",
        group="Rows",
        metavar="FILE|URL|-",
        repeatable=True,
    )
    text_columns: str | None = option(
        None,
        help="columns of the texts, as many as in training  [default: those of the training]",
        group="Rows",
        metavar="A[,B]",
    )
    choices_columns: str | None = option(
        None,
        help="columns of the choices of a question  [default: those of the training]",
        group="Rows",
        metavar="A[,B,…]",
    )
    max_length: int | None = option(
        None,
        help="maximum length of an input in tokens  [default: that of the training]",
        group="Rows",
        low=SHORTEST_INPUT,
    )
    data_dir: str | None = option(
        None, help="directory of the official files of the GLUE task, for --glue", group="Rows", metavar="DIR"
    )
    cache: str | tuple[str, ...] | None = option(
        None,
        help="present place of the run's cache: for --glue without --data-dir, and for a run of an earlier version",
        group="Rows",
        metavar="DIR|URL",
        repeatable=True,
    )
    allow_changed_rows: bool = option(
        False, help="with --glue: take test rows that are not as many as the official ones", group="Rows"
    )
    out: str | None = option(
        None, help="file to write: .csv, .jsonl or .parquet; it must not be there yet", group="Output", metavar="FILE"
    )
    prefix: str | None = option(
        None, help="text before the names of the new columns, where the rows have such names", group="Output"
    )
    glue: str | None = option(
        None,
        help="in place of --file and --out: directory to write the task's files of a GLUE submission to, from its "
        "official test rows",
        group="Output",
        metavar="DIR",
    )
    batch_size: int = option(64, help="sequences per batch", group="Compute", low=1, high=4096)
    precision: str = option(
        "auto",
        help="number format of matrix products; auto: that of the training, if the hardware supports it",
        group="Compute",
        choices=("auto", "bfloat16", "float32"),
    )

    @property
    def result_on_stderr(self) -> bool:
        """Whether stdout is for predictions alone."""
        return self.file == STDIN
