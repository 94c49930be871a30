"""The content of a report, which the page and the markdown show each in their own way."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from pipeline.pages.picture import Picture


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str
    kind: ClassVar[str] = "text"


@dataclass(frozen=True)
class Heading:
    """A heading below that of the section."""

    text: str
    kind: ClassVar[str] = "heading"


@dataclass(frozen=True)
class Facts:
    """Names with their values."""

    rows: tuple[tuple[str, str], ...]
    kind: ClassVar[str] = "facts"


@dataclass(frozen=True)
class Table:
    """A table. The first cell of each row is its heading; `best` is the number of a row that is marked."""

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    best: int | None = None
    kind: ClassVar[str] = "table"


@dataclass(frozen=True)
class Figures:
    """Figures side by side."""

    pictures: tuple[Picture, ...]
    kind: ClassVar[str] = "figures"


@dataclass(frozen=True)
class Commands:
    """Command lines to type."""

    lines: tuple[str, ...]
    kind: ClassVar[str] = "commands"


@dataclass(frozen=True)
class Example:
    """An example: its number, its texts by column, and what label, student and teacher say of it."""

    number: int
    texts: tuple[tuple[str, str], ...]
    answers: tuple[tuple[str, str, str], ...]  # who, answer, probability
    kind: ClassVar[str] = "example"


Block = Text | Heading | Facts | Table | Figures | Commands | Example


@dataclass(frozen=True)
class Section:
    """A section of the report, with the heading that its name in a link is made from."""

    title: str
    blocks: Sequence[Block]

    @property
    def anchor(self) -> str:
        """The name of the section in a link."""
        return self.title.lower().replace(" ", "-")
