"""The places that `distill` writes to: the directories of the program, here or below --out."""

from dataclasses import dataclass
from pathlib import Path

from pipeline.config.distill import DistillConfig
from pipeline.config.options import command_line
from pipeline.errors import BadOption
from pipeline.system.files import write_json
from pipeline.system.lease import is_free

MARK = "distill.json"  # in the directory of --out: it is one of `distill`


@dataclass(frozen=True)
class Places:
    """The directories of one task. `search` is the name of a search: of its students' depth and its space."""

    root: Path
    task: str

    @classmethod
    def of_call(cls, config: DistillConfig) -> "Places":
        """Return the places of a call, and mark the directory of --out. Raises `BadOption` for one with other files."""
        if config.out is not None:
            _claim(Path(config.out), config)
        return cls(Path(config.out or "."), config.task)

    @property
    def runs(self) -> Path:
        """The directory of the runs of teacher and students."""
        return self.root / "runs" / self.task

    @property
    def teacher(self) -> Path:
        """The run of the teacher."""
        return self.runs / "teacher"

    @property
    def cache(self) -> Path:
        """The cache."""
        return self.root / "data" / self.task

    def sweep(self, search: str) -> Path:
        """Return the directory of the sweep; the file of its space is beside it."""
        return self.root / "sweeps" / f"{self.task}-{search}"

    def space(self, search: str) -> Path:
        """Return the file of the space of the sweep."""
        return self.root / "sweeps" / f"{self.task}-{search}.toml"

    def export(self, run: str, form: str) -> Path:
        """Return the directory of an export of the run in directory `run`."""
        return self.root / "exports" / f"{self.task}-{Path(run).name}-{form}"

    def report(self, search: str) -> Path:
        """Return the directory of the report."""
        return self.root / "reports" / f"{self.task}-{search}"

    def summary(self, search: str) -> Path:
        """Return the file of the result of a call, without its ending: .json for programs, .md for people."""
        return self.runs / f"distill-{search}"


def _claim(out: Path, config: DistillConfig) -> None:
    """Mark a new or empty directory as one of `distill`. Raises `BadOption` for one that holds something else."""
    if (out / MARK).is_file():
        return
    if not is_free(out):
        raise BadOption(
            f"{out} exists and was not made by distill. Name another --out, or leave it out to write into runs/, "
            "data/ and their like here"
        )
    try:
        write_json(out / MARK, {"command": command_line("distill", config)})
    except OSError as error:
        raise BadOption(f"{out} cannot be written ({error.strerror}). Name another --out") from error
