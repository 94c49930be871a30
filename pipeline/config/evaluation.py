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
        help="run directories; several are compared", metavar="RUN", positional=True, repeatable=True
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
