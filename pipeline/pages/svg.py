"""A figure of matplotlib as an element of a page."""

import io
import re
import warnings
from collections.abc import Iterator, Mapping
from xml.etree import ElementTree

from markupsafe import Markup
from matplotlib.figure import Figure

from pipeline.system.formatting import printable

# Okabe and Ito's colours, which colour-blind people tell apart. In the page they are variables, so that it can be dark.
INK, GRID, POINT, BEST = "#1b1f24", "#d0d7de", "#0072b2", "#d55e00"
QUIET, GREEN, OCHRE, PURPLE = "#57606a", "#007a5a", "#a86400", "#9b4d86"
VARIABLES = {INK: "var(--ink)", GRID: "var(--grid)", POINT: "var(--point)", BEST: "var(--best)"}
VARIABLES |= {QUIET: "var(--quiet)", GREEN: "var(--green)", OCHRE: "var(--ochre)", PURPLE: "var(--purple)"}


def svg(figure: Figure, title: str, prefix: str) -> Markup:
    """Return a figure as an element of the page, with unique ids, and colours that are variables of the page."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # letters that matplotlib lacks: the browser has them
        figure.savefig(buffer, format="svg", transparent=True)
    root = ElementTree.fromstring(buffer.getvalue())
    for parent in root.iter():
        for child in list(parent):
            if child.tag.endswith(("}metadata", "}style")):  # no dates; no rules for the rest of the page
                parent.remove(child)
    names: dict[str, str] = {}  # old id -> new id, of those that are referred to
    for element in root.iter():
        for value in element.attrib.values():
            if referred := re.fullmatch(r"#(.+)|url\(#(.+)\)", value):
                names.setdefault(referred[1] or referred[2], f"{prefix}-{len(names)}")
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        attributes = dict(element.attrib)
        element.attrib.clear()
        element.attrib.update(_page_attributes(attributes, names))
    root.attrib = {"viewBox": root.attrib["viewBox"], "role": "img", "aria-label": printable(title)}
    return Markup(ElementTree.tostring(root, encoding="unicode"))


def standalone(element: str, style: str) -> str:
    """Return an element of `svg` as a file of its own, on a background, with the rules of `style`."""
    opening, rest = element.split(">", 1)
    head = opening.replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"', 1)
    background = '<rect width="100%" height="100%" style="fill: var(--page)" />'
    return f"{head}><style>{style}</style>{background}{rest}\n"


def _page_attributes(attributes: Mapping[str, str], names: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the attributes of an SVG element as the page has them, shortened."""
    for key, value in attributes.items():
        if key == "id":
            if value in names:
                yield key, names[value]
        elif key == "style":
            value = re.sub(r"font-family: [^;]+;? ?", "", value)
            yield key, re.sub(r"#[0-9a-f]{6}", lambda colour: VARIABLES.get(colour[0], colour[0]), value)
        elif key.endswith("href") or key == "clip-path":
            yield key.rpartition("}")[2], re.sub(r"#([^)]+)", lambda name: f"#{names[name[1]]}", value)
        else:
            yield key, re.sub(r"\d+\.\d{3,}", lambda number: f"{float(number[0]):.2f}".rstrip("0").rstrip("."), value)
