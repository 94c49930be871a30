"""A report as files: the page, the markdown, and the figures of the markdown."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from markupsafe import Markup

from pipeline.pages.picture import Picture, as_svg
from pipeline.pages.svg import standalone
from pipeline.pages.templates import HERE as SHARED
from pipeline.pages.templates import plain_template, template
from pipeline.system.formatting import printable
from stages.report.blocks import Figures
from stages.report.sections import Report

HERE = Path(__file__).parent
PAGE, MARKDOWN = "index.html", "report.md"
ASCII_PUNCTUATION = re.compile(r"([\\`*_{}\[\]<>#|~$])")


def render(report: Report) -> dict[str, str]:
    """Return the content of each file of a report, by its name. A report always has the same bytes."""
    report, pictures = _drawn(report)
    style = _standalone_style()
    files = {picture: f"figure-{number}.svg" for number, picture in enumerate(pictures, 1)}
    texts = {PAGE: template(HERE, "page.html.j2").render(report=report)}
    texts[MARKDOWN] = plain_template(HERE, "report.md.j2", markdown).render(report=report, files=files, fenced=fenced)
    return texts | {files[picture]: standalone(str(picture.svg), style) for picture in pictures}


def markdown(text: str) -> str:
    """Return a text on one line that markdown shows as it is."""
    return ASCII_PUNCTUATION.sub(r"\\\1", printable(text)).replace("&", "&amp;")


def fenced(lines: Sequence[str]) -> Markup:
    """Return command lines as a code block of markdown."""
    text = "\n".join(map(printable, lines))
    longest = max(map(len, re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return Markup(f"{fence}console\n{text}\n{fence}")


def _drawn(report: Report) -> tuple[Report, list[Picture]]:
    """Return the report with its figures as SVG, and these figures."""
    blocks = [block for section in report.sections for block in section.blocks if isinstance(block, Figures)]
    drawn = as_svg([picture for block in blocks for picture in block.pictures])
    waiting = iter(drawn)
    sections = tuple(
        replace(
            section,
            blocks=[
                Figures(tuple(next(waiting) for _ in block.pictures)) if isinstance(block, Figures) else block
                for block in section.blocks
            ],
        )
        for section in report.sections
    )
    return replace(report, sections=sections), drawn


def _standalone_style() -> str:
    """Return the colours of the page, light and dark, for a figure in a file of its own."""
    rules = "".join((directory / name).read_text() for directory, name in ((SHARED, "style.css"), (HERE, "report.css")))
    colours = re.findall(r"^:root \{.*\}$|^@media \(prefers-color-scheme: dark\) \{\n.*\n\}$", rules, re.MULTILINE)
    return "\n".join([*colours, "text { font-family: system-ui, sans-serif; }"])
