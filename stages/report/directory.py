"""The directory of a report: replaced as a whole by a later report of the same runs, and never anything else."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import BadOption
from pipeline.system.digests import bytes_digest, intact
from pipeline.system.files import read_json, write_directory, write_json
from pipeline.system.system_errors import raise_if_of_system, reason_of

RECORD = "report.json"  # what the report is about, and the digest of each of its files


@dataclass(frozen=True)
class ReportDirectory:
    """A directory to write; `key` says what the report is about."""

    path: Path
    key: Mapping[str, Any]

    def check(self) -> None:
        """Raise `BadOption` unless the place is free, or holds an unchanged report of the same runs."""
        if not self.path.exists() and not self.path.is_symlink():
            return
        if self.path.is_symlink() or not self.path.is_dir():
            raise BadOption(f"{self.path} exists and is not a report. Choose another --out")
        present = {path.name: path for path in self.path.iterdir()}
        if not present:
            return
        try:
            record = read_json(self.path / RECORD)
            key, files = record["about"], dict(record["files"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise_if_of_system(error)
            raise BadOption(f"{self.path} exists and is not a report. Choose another --out") from error
        if key != dict(self.key):
            raise BadOption(f"{self.path} is the report of other runs. Choose another --out, or remove it")
        for name, path in sorted(present.items()):
            if name != RECORD and not intact(path, str(files.get(name))):
                raise BadOption(f"{path} is not as report wrote it. Move it away, or choose another --out")

    def write(self, texts: Mapping[str, str]) -> None:
        """Write these files, all or none. Raises `BadOption` for a disk that refuses."""
        digests = {name: bytes_digest(text.encode()) for name, text in sorted(texts.items())}

        def write(directory: Path) -> None:
            for name, text in texts.items():
                (directory / name).write_text(text, encoding="utf-8")
            write_json(directory / RECORD, {"about": self.key, "files": digests})

        try:
            write_directory(self.path, write)
        except OSError as error:
            raise BadOption(f"{self.path} cannot be written ({reason_of(error)}). Choose another --out") from error
