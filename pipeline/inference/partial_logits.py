"""Logits of the chunks of a file that is being predicted, kept beside the result until that is complete.

OUT.partial/ has a file per chunk, complete or absent, and the identity of the work: the model, the texts, the options.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from pipeline.cache.format.columns import LOGITS
from pipeline.cache.format.identity import different_fields
from pipeline.errors import BadOption, BusyRun, one_line
from pipeline.system.files import is_temporary, read_json, remove, sync_directory, write_file, write_json
from pipeline.system.lease import directory_lease, is_free, leave_directory
from pipeline.system.system_errors import raise_if_of_system, reason_of

IDENTITY = "identity.json"


class PartialLogits:
    """The chunks of one prediction that are finished. Used inside `claimed`."""

    def __init__(self, out: Path, identity: Mapping[str, Any]):
        self.out, self.identity = out, dict(identity)
        self.directory = out.with_name(f"{out.name}.partial")

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Keep other processes from the work. Whatever ends it, finished chunks stay, and without any, nothing does.

        Raises `BusyRun` if another process does it, `BadOption` for a directory of other work or a disk that refuses.
        """
        self._check()
        lease = directory_lease(self.directory)
        try:
            if (holder := lease.acquire()) is not None:
                raise BusyRun(f"{self.out} is being written by {holder}. Wait for it, or name another --out")
            try:
                self._check()
                for leftover in self.directory.iterdir():
                    if is_temporary(leftover):  # of a killed call
                        remove(leftover)
                write_json(self.directory / IDENTITY, self.identity)
                yield
            finally:
                leave_directory(lease)
                if not any(self.directory.glob("*.safetensors")):
                    remove(self.directory)
        except OSError as error:
            raise BadOption(
                f"{one_line(self.out)} cannot be written ({reason_of(error)}). Make room, and run the same command "
                "again, or name another --out"
            ) from error

    def _check(self) -> None:
        """Raise `BadOption` if the directory holds other work than this."""
        if is_free(self.directory):
            return
        try:
            theirs = read_json(self.directory / IDENTITY)
            differences = different_fields(self.identity, theirs)
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise_if_of_system(error)
            raise BadOption(
                f"{one_line(self.directory)} is in the way: it is not of a prediction. Move it, or name another --out"
            ) from error
        if differences:
            reasons = one_line("; ".join(differences), 400)
            raise BadOption(
                f"{one_line(self.directory)} has the finished part of another prediction ({reasons}). Remove it, or "
                "name another --out"
            )

    def _file(self, number: int) -> Path:
        return self.directory / f"{number:06d}.safetensors"

    def load(self, number: int, shape: tuple[int, int]) -> np.ndarray | None:
        """Return the logits of a chunk; None if they are not there, or not of this shape."""
        try:
            logits = load_file(self._file(number))[LOGITS]
        except (OSError, KeyError, SafetensorError) as error:
            raise_if_of_system(error)
            return None
        return logits if logits.shape == shape and logits.dtype == np.float32 else None

    def save(self, number: int, logits: np.ndarray) -> None:
        """Keep the logits of a chunk, float32 [n, C]. Raises OSError."""
        write_file(self._file(number), lambda path: save_file({LOGITS: logits}, path))

    def publish(self, outputs: Mapping[Path, Callable[[Path], None]]) -> None:
        """Write files {path: what writes it}, all complete before the first is in its place; forget the chunks.

        Raises OSError, or `BadOption` for a file that has come into being since.
        """
        written = {path: self.directory / f"output{number}" for number, path in enumerate(outputs)}
        for path, write in outputs.items():
            write_file(written[path], write)
        for path in outputs:
            check_absent(path)
        for path, file in written.items():
            file.rename(path)
            sync_directory(path.parent)
        for chunk in self.directory.glob("*.safetensors"):
            chunk.unlink()


def check_absent(path: Path, option: str = "--out") -> None:
    """Raise `BadOption` for a file that is there."""
    if path.exists() or path.is_symlink():
        raise BadOption(f"{one_line(path)} exists, and nothing was changed. Name another {option}")
