"""A sweep as one self-contained HTML file: tables, and figures as inline SVG."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from pipeline.system.files import write_text
from pipeline.system.formatting import printable
from stages.sweep.report import leaderboard
from stages.sweep.report.figures import DISPLAY_NAMES, pictures
from stages.sweep.search.record import SweepRecord


def write_page(record: SweepRecord, path: Path) -> None:
    """Write the page of `record` atomically. The same record gives the same bytes."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value,
    )
    ranked = leaderboard.ranked(record)
    numbers = {trial.number for trial in ranked}
    rest = [trial for trial in record.trials if trial.number not in numbers]
    page = environment.get_template("page.html.j2").render(
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
