"""A sweep as a table of all its trials, and as a page."""

from pathlib import Path

from pipeline.progress import note
from stages.configs.sweep import SweepShowConfig
from stages.sweeps import board
from stages.sweeps.directory import PAGE, SweepDirectory
from stages.sweeps.page import write_page
from stages.sweeps.standing import SweepStanding, standing


def run(config: SweepShowConfig) -> SweepStanding:
    """Print all trials, and write sweep.html. Raises `BadRun` for what is no sweep."""
    directory = SweepDirectory(Path(config.sweep))
    record = directory.read()
    print(board.leaders(record, len(record.trials)))
    for line in (*board.failures(record), board.summary(record)):
        print(line)
    write_page(record, directory.path / PAGE)
    note(f"see {directory.path / PAGE}")
    return standing(record, "sweep show", config.sweep)
