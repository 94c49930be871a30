"""Print the progress of a sweep, from another terminal."""

from pathlib import Path

from pipeline.config.sweep import SweepStatusConfig
from pipeline.system.progress import show
from stages.sweep.report.terminal import status_text
from stages.sweep.search.directory import SweepDirectory
from stages.sweep.search.record import SweepStatus, sweep_status


def run(config: SweepStatusConfig) -> SweepStatus:
    """Print the leaderboard and a line for each running trial. Raises `BadRun` without a sweep."""
    record = SweepDirectory(Path(config.sweep)).read()
    show(status_text(record))
    return sweep_status(record, "sweep status", config.sweep)
