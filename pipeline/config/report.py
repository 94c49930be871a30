"""The options of `report`."""

from dataclasses import dataclass

from pipeline.config.options import Options, option


@dataclass(frozen=True, kw_only=True)
class ReportConfig(Options):
    """Write a page about finished students: what they were distilled from, and what it was worth.

    The page shows the table of methods against the teacher, metric against size and speed, learning curves, patience
    loss by layer, examples on which student and teacher disagree, calibration, cost, and the commands that repeat it.
    Nothing is trained, and no model is run. DIR holds index.html, which needs no other file, and the same content as
    report.md with its figures.

    All runs are of one task. Of a sweep, the finished trials are used. Several seeds of the same options are one row,
    with a 95 % interval of their mean.
    """

    runs: str | tuple[str, ...] = option(
        help="run directories of train-student, sweep directories, or both",
        metavar="RUN|SWEEP",
        positional=True,
        repeatable=True,
    )
    cache: str | tuple[str, ...] | None = option(
        None,
        help="cache or URL that the runs were trained from, if it is no longer where it was; all for runs of several",
        group="Input",
        metavar="DIR|URL",
        repeatable=True,
    )
    inference: str | None = option(
        None,
        help="file that benchmark inference wrote about these runs, for metric against speed",
        group="Input",
        metavar="FILE",
    )
    examples: int = option(
        10, help="maximum number of examples on which the best student and its teacher disagree", group="Output", low=0
    )
    out: str | None = option(
        None,
        help="directory to write  [default: reports/SWEEP for one sweep, else reports/TASK]",
        group="Output",
        metavar="DIR",
        affects_result=False,
    )
