"""A figure of a page with its title and a note, drawn in one style."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import matplotlib
from markupsafe import Markup
from matplotlib.figure import Figure

from pipeline.pages.axes import STYLE
from pipeline.pages.svg import svg


@dataclass(frozen=True)
class Picture:
    """A figure of the page, None if there is nothing to draw, and a note below it."""

    title: str
    note: str
    figure: Figure | None = None
    svg: Markup | None = None


@contextmanager
def figure_style() -> Iterator[None]:
    """Draw in the style of the pages, whatever the user's matplotlibrc says."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        yield


def as_svg(pictures: Sequence[Picture]) -> list[Picture]:
    """Return the pictures of a page with their figures as SVG, whose ids differ from picture to picture."""
    return [
        replace(picture, svg=svg(picture.figure, picture.title, f"f{number}") if picture.figure else None)
        for number, picture in enumerate(pictures)
    ]
