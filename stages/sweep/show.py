"""Print a sweep as a table of all its trials, and write its page."""

from pathlib import Path

from pipeline.config.sweep import SweepShowConfig
from pipeline.system.progress import note, show
from stages.sweep.report import leaderboard
from stages.sweep.report.page import write_page
from stages.sweep.search.directory import PAGE, SweepDirectory
from stages.sweep.search.record import SweepStatus, sweep_status


def run(config: SweepShowConfig) -> SweepStatus:
    """Print all trials, and write sweep.html. Raises `BadRun` without a sweep."""
    directory = SweepDirectory(Path(config.sweep))
    record = directory.read()
    show(leaderboard.leaders(record, len(record.trials)))
    for line in (*leaderboard.failures(record), leaderboard.summary(record)):
        show(line)
    write_page(record, directory.path / PAGE)
    note(f"see {directory.path / PAGE}")
    return sweep_status(record, "sweep show", config.sweep)
