"""Invented sweeps, and their page as a parsed document."""

import random
import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree

from stages.sweep.search.record import FAILED, FINISHED, PRUNED, RUNNING, SweepRecord, TrialRecord

SCRIPT = "<script>alert(1)</script>"


HOSTILE = f'{SCRIPT}"><img src=http://evil/x onerror=alert(1)>\x1b\ud800$\\frac{{1}}$'


CACHES = {"data/rte": "3f2a"}


VOID = {"meta", "link"}


def sweep(count, methods=("pkd-skip", "pkd-last", "kd"), **known):
    """Return a sweep of `count` trials: finished, pruned and failed in turn, the last of several still running."""
    draw = random.Random(count)
    trials = [_trial(number, draw, methods) for number in range(count)]
    if count > 1:
        trials[-1] = replace(trials[-1], state=RUNNING, ended=None, error=None)
    record = SweepRecord("rte", "cli.py sweep", "grid", "accuracy", CACHES, tuple(trials), count, False, 60.0)
    return replace(record, **known)


def _trial(number, draw, methods):
    state, method = (FINISHED, PRUNED, FAILED)[number % 3], methods[number // 3 % len(methods)]
    steps = 1200 if state == FINISHED else 300
    top = draw.uniform(0.6, 0.9)
    return TrialRecord(
        number,
        state,
        {
            "method": method,
            "lr": draw.choice([1e-5, 2e-5, 5e-5]),
            "temperature": None if method == "kd" else draw.choice([5.0, 10.0, 20.0]),
            "teacher_layers": draw.choice([None, [2, 4], [3, 4]]),
        },
        method,
        f"python cli.py train-student --cache data/rte --out runs/{number}",
        f"runs/{number}",
        None if state == FAILED else top,
        {"dev": {"accuracy": top}},
        () if state == FAILED else tuple((step, top * step / steps) for step in range(50, steps + 1, 50)),
        steps,
        1200,
        steps * 32,
        90.0,
        ended=1000.0 + number,
        error="Out of memory" if state == FAILED else None,
    )


class Page(HTMLParser):
    """Elements with their attributes; text by where it stands; every end tag must close what is open."""

    def __init__(self, path):
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.elements, self.open, self.text = [], [], []
        self.feed(self.source)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append((".".join(self.open[2:]), data.strip()))

    def texts(self, place):
        return [text for where, text in self.text if where.endswith(place) and text]

    def all(self, tag):
        return [attributes for one, attributes in self.elements if one == tag]

    def rows(self):
        return self.source[self.source.index("<tbody", self.source.index('id="trials"')) :].count("<tr")


def drawn(page):
    return [attributes["aria-label"] for attributes in page.all("svg")]


def figure(page, title):
    found = re.findall(r"<svg.*?</svg>", page.source, re.DOTALL)
    return ElementTree.fromstring(next(svg for svg in found if f'aria-label="{title}"' in svg))


def places(svg, style):
    """(x, y) of the markers of that style, from left to right."""
    found = [use for use in svg.iter("use") if re.fullmatch(style, use.attrib["style"])]
    return sorted((float(use.attrib["x"]), float(use.attrib["y"])) for use in found)


def paths(svg, style):
    """Corners of each path of that style."""
    found = [path.attrib["d"] for path in svg.iter("path") if re.match(style, path.attrib.get("style", ""))]
    return [[(float(x), float(y)) for x, y in re.findall(r"([\d.]+) ([\d.]+)", path)] for path in found]


def markers(page, title):
    """Points of a figure: filled and hollow circles, and diamonds."""
    styles = [use.attrib["style"] for use in figure(page, title).iter("use")]
    return Counter(
        "best" if "--best" in style else "hollow" if "fill-opacity: 0;" in style else "filled"
        for style in styles
        if "--point" in style or "--best" in style
    )


POINTS = r"fill: var\(--(point|best)\).*"


def finished(number, score, **known):
    trial = _trial(0, random.Random(0), ["kd"])
    return replace(trial, number=number, score=score, **known)
