"""Text for people: tables, sizes, durations, and words from a cache that may come from anyone."""

import re
from collections.abc import Sequence

_NUMBER = re.compile(r"–|[\d.,]+(e[+-]\d+)?%?")


def printable(text: object) -> str:
    """Return the text on one line, without characters that a terminal would obey or that cannot be encoded."""
    return "".join(letter if letter.isprintable() else "�" for letter in str(text))


def public_place(place: str) -> str:
    """Return a path as it is; of a URL neither user, password nor query, which may be a signature."""
    return re.sub(r"//[^/@]*@", "//", place).partition("?")[0] if "://" in place else place


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return rows as columns under a header, two spaces apart; columns of numbers are aligned to the right."""
    names, *cells = [[printable(cell) for cell in row] for row in (header, *rows)]
    right = [bool(rows) and all(_NUMBER.fullmatch(row[i]) for row in cells) for i in range(len(names))]
    widths = [max(map(len, column)) for column in zip(names, *cells, strict=True)]
    lines = []
    for line in [names, *cells]:
        aligned = zip(line, widths, right, strict=True)
        cells_of_line = (cell.rjust(width) if is_right else cell.ljust(width) for cell, width, is_right in aligned)
        lines.append("  ".join(cells_of_line).rstrip())
    return "\n".join(lines)


def spans(numbers: Sequence[int]) -> str:
    """Return rising numbers as text, consecutive ones as a range: 1–11, or 2, 4, 6."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(f"{run[0]}–{run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs) or "none"


def size(count: float) -> str:
    """Return a number of bytes as text, in the unit that fits."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if count >= 10 or unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def duration(seconds: float) -> str:
    """Return seconds as text, in the unit that fits."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
