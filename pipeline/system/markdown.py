"""Markdown of words that come from anyone: names of tasks, classes and files cannot become markup, HTML or YAML."""

import re
from collections.abc import Iterable, Sequence

from pipeline.errors import one_line

MOST_NAMES = 50  # in a list
LONGEST = 200  # characters of a name


def code(text: object) -> str:
    """Return a text as a code span on one line, in which nothing is markup, not even backticks."""
    line = one_line(text, LONGEST) or "–"
    fence = "`" * (1 + max((len(ticks) for ticks in re.findall("`+", line)), default=0))
    pad = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{pad}{line}{pad}{fence}"


def codes(texts: Iterable[object]) -> str:
    """Return several texts as code spans; of very many, the first ones."""
    spans = [code(text) for text in texts]
    more = f", … ({len(spans):,} in all)" if len(spans) > MOST_NAMES else ""
    return ", ".join(spans[:MOST_NAMES]) + more


def fenced(text: str, language: str = "") -> str:
    """Return lines as a block of code, whatever is in them."""
    longest = max((len(ticks) for ticks in re.findall("`{3,}", text)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; its cells are markdown, of which a bar does not end a cell."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def page(front_matter: str, sections: Iterable[tuple[str, str]]) -> str:
    """Return a page: YAML, then sections under headings; the first heading is that of the page."""
    parts = [f"---\n{front_matter.strip()}\n---"]
    for number, (heading, text) in enumerate(sections):
        parts.append(f"{'#' if number == 0 else '##'} {heading}\n\n{text.strip()}")
    return "\n\n".join(parts) + "\n"
