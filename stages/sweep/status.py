"""How far a sweep is, from another terminal."""

from pathlib import Path

from pipeline.config.sweep import SweepStatusConfig
from stages.sweep.report.terminal import board_text
from stages.sweep.search.directory import SweepDirectory
from stages.sweep.search.standing import SweepStanding, standing


def run(config: SweepStatusConfig) -> SweepStanding:
    """Print the leader board and a line for each running trial. Raises `BadRun` for what is no sweep."""
    record = SweepDirectory(Path(config.sweep)).read()
    print(board_text(record))
    return standing(record, "sweep status", config.sweep)
