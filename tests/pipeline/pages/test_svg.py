"""Figures as SVG: in a page, and as files of their own."""

from xml.etree import ElementTree

from pipeline.pages.axes import new_axes
from pipeline.pages.picture import Picture, as_svg, figure_style
from pipeline.pages.svg import standalone


def drawn():
    with figure_style():
        figure, axes = new_axes("steps & more", "<score>")
        axes.plot([0, 1], [0, 1])
        return as_svg([Picture("One", "", figure), Picture("Two", "Nothing to draw.")])


def test_figures_are_drawn_and_what_has_none_is_kept():
    first, second = drawn()
    assert 'aria-label="One"' in first.svg and second.svg is None
    assert drawn()[0].svg == first.svg


def test_standalone_figure_is_a_document_with_a_background():
    root = ElementTree.fromstring(standalone(str(drawn()[0].svg), ":root { --page: #fff; }"))
    assert root.tag == "{http://www.w3.org/2000/svg}svg" and root[0].text == ":root { --page: #fff; }"
    assert root[1].attrib == {"width": "100%", "height": "100%", "style": "fill: var(--page)"}
