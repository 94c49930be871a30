"""Rows of files that a model is to predict: read twice, first to check and count them, then chunk by chunk."""

import hashlib
import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from pipeline.data.rows.choices import ChoiceRows, unanswered_rows
from pipeline.data.rows.raw_rows import Gathering, RawSplit
from pipeline.data.rows.rows import SplitRows
from pipeline.data.tables.columns import Wanted
from pipeline.data.tables.faults import Faults
from pipeline.data.tables.places import check_file, expand, name_of
from pipeline.data.tables.tables import format_of
from pipeline.data.tables.whole_row_writers import check_layout, check_rows
from pipeline.data.tables.whole_rows import Chunk, Layout, OtherColumns, WholeRows, read_chunks
from pipeline.data.tokenize import check_room
from pipeline.errors import BadOption, BadRows, one_line
from pipeline.inference.predictor import Predictor
from pipeline.system.progress import bar

CHUNK_ROWS = 1024  # computed, and kept if the call breaks off, as one


@dataclass(frozen=True)
class Survey:
    """The rows of some files: their number, their columns, and the digest of their texts."""

    rows: int
    layout: Layout
    digest: str


@dataclass(frozen=True)
class InputRows:
    """The rows of `files`, as `predictor` reads them."""

    files: tuple[str, ...]
    predictor: Predictor

    @classmethod
    def from_files(cls, places: tuple[str, ...], predictor: Predictor) -> "InputRows":
        """Return the rows of these files and patterns. Raises `BadRows` for files of several formats."""
        files = expand(places)
        for file in files:
            check_file(file)
            if format_of(file) != format_of(files[0]):
                both = f"{name_of(files[0])} and {name_of(file)}"
                raise BadRows(f"{both} are of different formats. Predict them one after the other")
        return cls(files, predictor)

    def survey(self, new_columns: Collection[str], ending: str) -> Survey:
        """Check all rows, which are to be written to a file of this ending with new columns. No text is computed on.

        Raises `BadRows` for rows that cannot be predicted, which it names, `BadOption` for columns that cannot be
        written.
        """
        gathering = self._gathering()
        layout: Layout | None = None
        rows, digest = 0, hashlib.sha256()
        with bar(0, "check rows", "ex") as progress:
            for file, chunk in self._read(gathering.faults):
                if split := self._split(gathering, file, chunk):
                    if isinstance(split, ChoiceRows):
                        check_room(split, self.predictor.tokenizer, self.predictor.max_length)
                    rows += len(split)
                digest.update("".join(map(json.dumps, chunk.cells)).encode())
                layout = _joined(layout, chunk.rows, file, ending)
                check_rows(chunk.rows, ending, format_of(file))
                progress.update(len(chunk))
        gathering.check()
        if layout is None or not rows:
            names = ", ".join(map(name_of, self.files))
            raise BadRows(f"{one_line(names)} does not have any rows. Check the file")
        check_names(layout.names, new_columns, ending, name_of(self.files[0]))
        check_layout(layout, ending, format_of(self.files[0]))
        return Survey(rows, layout, digest.hexdigest())

    def chunks(self) -> Iterator[tuple[SplitRows, WholeRows]]:
        """Yield the rows, at most `CHUNK_ROWS` at a time, as the model reads them and as they are in their file.

        Raises `BadRows` where a file is no longer what `survey` has read.
        """
        gathering = self._gathering()
        for file, chunk in self._read(gathering.faults):
            split = self._split(gathering, file, chunk)
            gathering.check()
            assert split is not None
            yield split, chunk.rows

    def _read(self, faults: Faults) -> Iterator[tuple[str, Chunk]]:
        columns = (*self.predictor.text_columns, *self.predictor.choices_columns)
        wanted = Wanted(columns, choices=self.predictor.choices_columns, text_options="--text-columns")
        for file in self.files:
            for chunk in read_chunks(file, wanted, faults, CHUNK_ROWS):
                yield file, chunk

    def _gathering(self) -> Gathering:
        return Gathering(self.predictor.text_columns, self.predictor.choices_columns)

    def _split(self, gathering: Gathering, file: str, chunk: Chunk) -> SplitRows | None:
        """Return the rows of a chunk; None if all are faulty, which `gathering` has counted then."""
        gathering.begin(file)
        for number, cells in zip(chunk.numbers, chunk.cells, strict=True):
            gathering.add((number, (*cells, None)))
        return as_rows(self.predictor, gathering.taken()) if len(gathering) else None


def as_rows(predictor: Predictor, raw: RawSplit) -> SplitRows:
    """Return rows as a model reads them. Raises `BadRows` for choices that do not fit the task."""
    if predictor.choices_columns:
        return unanswered_rows(raw, predictor.record.task, predictor.num_logits, "Fill it in, or remove the row")
    return predictor.rows(*raw.texts)


def check_names(names: tuple[str, ...], new: Collection[str], ending: str, file: str) -> None:
    """Raise `BadOption` where columns of a file have the name of a new one, or, in jsonl and parquet, one name."""
    if taken := [name for name in names if name in new]:
        raise BadOption(
            f"{file} has a column {one_line(repr(taken[0]), 60)} already. Add --prefix TEXT, which begins the names "
            "of the new columns"
        )
    twice = [name for name in names if names.count(name) > 1] if ending != ".csv" else []
    if twice:
        raise BadOption(
            f"{file} has two columns with the name {one_line(repr(twice[0]), 60)}, which a {ending} file cannot have. "
            "Name a .csv file"
        )


def _joined(layout: Layout | None, rows: WholeRows, file: str, ending: str) -> Layout:
    """Return the columns of all rows so far."""
    import pyarrow

    try:
        return rows.layout(layout, ending == ".parquet")
    except OtherColumns as error:
        raise BadRows(f"{name_of(file)}: {error}. Predict it alone") from error
    except (pyarrow.ArrowException, OverflowError, UnicodeError) as error:
        raise BadOption(
            f"{name_of(file)}: a column has values that a parquet file cannot hold together ({one_line(error, 120)}). "
            "Name a .jsonl file"
        ) from error
