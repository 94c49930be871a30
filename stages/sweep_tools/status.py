"""How far a sweep is, from another terminal."""

from pathlib import Path

from stages.configs.sweep import SweepStatusConfig
from stages.sweeps.directory import SweepDirectory
from stages.sweeps.standing import SweepStanding, standing
from stages.sweeps.view import board_text


def run(config: SweepStatusConfig) -> SweepStanding:
    """Print the leader board and a line for each running trial. Raises `BadRun` for what is no sweep."""
    record = SweepDirectory(Path(config.sweep)).read()
    print(board_text(record))
    return standing(record, "sweep status", config.sweep)
