"""A sweep as one self-contained HTML file: tables, and figures as inline SVG."""

from pathlib import Path

from pipeline.pages.templates import template
from pipeline.system.files import write_text
from stages.sweep.report import leaderboard
from stages.sweep.report.figures import DISPLAY_NAMES, pictures
from stages.sweep.search.record import SweepRecord


def write_page(record: SweepRecord, path: Path) -> None:
    """Write the page of `record` atomically. The same record gives the same bytes."""
    ranked = leaderboard.ranked(record)
    numbers = {trial.number for trial in ranked}
    rest = [trial for trial in record.trials if trial.number not in numbers]
    page = template(Path(__file__).parent, "page.html.j2").render(
        record=record,
        summary=leaderboard.summary(record),
        names=list(leaderboard.parameter_names(record)),
        trials=ranked + rest,
        failures=leaderboard.failures(record),
        text=leaderboard,
        method_names=DISPLAY_NAMES,
        **pictures(record),
    )
    write_text(path, page)
