"""Faults of rows, collected by kind, so that one call of the program names all rows of a kind."""

from dataclasses import dataclass, field

from pipeline.data.tables.places import name_of
from pipeline.errors import BadRows

FIRST_NAMED = 5  # rows of a kind that are named


@dataclass
class _Kind:
    fact: str  # about its first row
    advice: str
    count: int = 0
    first: list[tuple[str, int]] = field(default_factory=list)


class Faults:
    """Faults found while rows are read: whoever reads goes on to the last row, then calls `check`."""

    def __init__(self, unit: str = "line") -> None:
        self.unit = unit  # what the numbers count: lines of a file, rows of a data set
        self._kinds: dict[str, _Kind] = {}

    def add(self, kind: str, place: str, number: int, fact: str, advice: str = "Fix this row") -> None:
        """Count a fault of a row; `fact` follows its place in a sentence, `kind` tells equal faults."""
        known = self._kinds.setdefault(kind, _Kind(fact, advice))
        known.count += 1
        if len(known.first) < FIRST_NAMED:
            known.first.append((place, number))

    def check(self) -> None:
        """Raise `BadRows` for the kind of fault that was found first, with its first rows and their number."""
        for kind in self._kinds.values():
            place, number = kind.first[0]
            text = f"{name_of(place)} {self.unit} {number}: {kind.fact}"
            if kind.count == 1:
                raise BadRows(f"{text}. {kind.advice}")
            more = ", …" if kind.count > FIRST_NAMED else ""
            advice = kind.advice.replace("this row", "these rows").replace("the row", "the rows")
            raise BadRows(f"{text}; {kind.count:,} rows are like this ({self._places(kind.first)}{more}). {advice}")

    def _places(self, rows: list[tuple[str, int]]) -> str:
        if len({place for place, _ in rows}) == 1:
            return f"{self.unit}s {', '.join(str(number) for _, number in rows)}"
        return ", ".join(f"{name_of(place)} {self.unit} {number}" for place, number in rows)
