"""Commands run one after the other, each printed as one could type it."""

from collections.abc import Callable
from typing import TypeVar

from pipeline.config.options import Options, command_line
from pipeline.system.progress import note

Config = TypeVar("Config", bound=Options)
Result = TypeVar("Result")


class Steps:
    """A record of the commands that were run, as lines to type."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def run(self, command: str, stage: Callable[[Config], Result], config: Config) -> Result:
        """Print the line of a command, and return what its stage returns. Raises the errors of the stage."""
        line = command_line(command, config)
        note(f"\n$ {line}")
        self.lines.append(line)
        return stage(config)
