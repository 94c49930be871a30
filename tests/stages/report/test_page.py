"""The page and the markdown of a report: self-contained, and whatever is in the data stays text."""

import re
import shutil
import subprocess

import pytest

from pipeline.pages.axes import new_axes, shorten
from pipeline.pages.picture import Picture, figure_style
from stages.report.blocks import Commands, Example, Facts, Figures, Heading, Section, Table, Text
from stages.report.page import MARKDOWN, PAGE, render
from stages.report.sections import Report
from tests.helpers.sweep_pages import HOSTILE, SCRIPT, Page

RTL = "\u202eright to left\u2066"


@pytest.fixture(scope="module")
def hostile():
    """Every block with hostile words in every place."""
    with figure_style():
        figure, axes = new_axes(shorten(HOSTILE, 40), shorten(RTL, 40))
        axes.plot([0, 1], [0, 1], label=shorten(HOSTILE, 40))
        figure.legend()
        blocks = [
            Text(HOSTILE),
            Heading(HOSTILE),
            Facts(((HOSTILE, f"{RTL}\n# heading\n```"),)),
            Table(HOSTILE, (HOSTILE, "a|b"), ((HOSTILE, "x\n| y |"),), 0),
            Figures((Picture(HOSTILE, HOSTILE, figure), Picture(HOSTILE, HOSTILE, figure))),
            Commands((HOSTILE, "echo '```'\n```\n# out")),
            Example(3, ((HOSTILE, f"{HOSTILE}{RTL}"),), ((HOSTILE, HOSTILE, HOSTILE),)),
        ]
        return render(Report(HOSTILE, (HOSTILE,), (Section("Data", blocks),), ()))


@pytest.fixture
def page(hostile, tmp_path):
    (tmp_path / PAGE).write_text(hostile[PAGE])
    return Page(tmp_path / PAGE)


def test_page_needs_nothing_else_and_runs_nothing(page):
    assert not page.all("script") and not page.all("img") and not page.all("iframe")
    assert not any(key.startswith("on") or key in ("src", "srcset") for _, a in page.elements for key in a)
    assert all(re.fullmatch(r"#[\w-]+|data:,", a.get("href", "data:,")) for _, a in page.elements)
    policy = next(a["content"] for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert policy == "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    assert page.elements[0][0] == "html" and page.all("html")[0]["lang"] == "en"
    assert all(svg["role"] == "img" and svg["aria-label"] for svg in page.all("svg"))
    assert all(head["scope"] in ("row", "col") for head in page.all("th"))


def test_hostile_words_are_shown_as_they_are(page):
    for place in "title h1 p.bdi dt dd figcaption h3 th caption pre.code article.p.span".split():
        assert any(SCRIPT in text for text in page.texts(place)), place
    assert not any(letter in page.source for letter in "\u202e\u2066\x1b")


def test_markdown_keeps_hostile_words_on_their_line(hostile):
    text = hostile[MARKDOWN]
    prose, _, rest = text.partition("````console\n")
    block, _, after = rest.partition("\n````")
    assert block.count("\n") == 1 and "echo '```'" in block  # two commands are two lines, in a longer fence
    assert not re.search(r"(?<!\\)[<>`]", prose + after) and "\\<script\\>" in prose
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(rows) == 3 and all(len(re.findall(r"(?<!\\)\|", row)) == 3 for row in rows)
    headings = [line for line in text.splitlines() if line.startswith("#")]
    assert [line[: line.index(" ")] for line in headings] == ["#", "##", "###"]


def test_figures_of_the_markdown_are_files_with_their_own_colours(hostile):
    figures = sorted(set(hostile) - {PAGE, MARKDOWN})
    assert figures == ["figure-1.svg", "figure-2.svg"]  # of the same title
    assert re.findall(r"\]\((.*?)\)", hostile[MARKDOWN].partition("```")[0])[-2:] == figures
    source = hostile[figures[0]]
    assert source.startswith('<svg xmlns="http://www.w3.org/2000/svg" ') and "prefers-color-scheme: dark" in source
    used = set(re.findall(r"var\((--\w+)\)", source))
    assert used and all(f"{name}:" in source for name in used) and SCRIPT not in source


@pytest.mark.process
@pytest.mark.skipif(not shutil.which("chromium"), reason="needs chromium")
def test_browser_has_nothing_to_complain_about(hostile, tmp_path):
    (tmp_path / PAGE).write_text(hostile[PAGE])
    flags = [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--enable-logging=stderr",
        f"--user-data-dir={tmp_path}/c",
    ]
    picture = tmp_path / "page.png"
    words = ["chromium", *flags, f"--screenshot={picture}", f"file://{tmp_path / PAGE}"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=True)
    assert picture.stat().st_size > 1000 and "CONSOLE" not in done.stderr
