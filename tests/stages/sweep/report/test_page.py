import random
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from stages.sweep.report.page import write_page
from stages.sweep.search.record import FAILED, FINISHED, PRUNED, RUNNING, SweepRecord, TrialRecord
from tests.helpers.paths import ROOT

SCRIPT = "<script>alert(1)</script>"
HOSTILE = f'{SCRIPT}"><img src=http://evil/x onerror=alert(1)>\x1b\ud800$\\frac{{1}}$'
CACHES = {"data/rte": "3f2a"}
VOID = {"meta", "link"}


def sweep(count, methods=("pkd-skip", "pkd-last", "kd"), **known):
    """Of `count` trials: finished, pruned and failed ones in turn, the last of several still running."""
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


@pytest.fixture
def page(tmp_path):
    def written(record):
        write_page(record, tmp_path / "sweep.html")
        return Page(tmp_path / "sweep.html")

    return written


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


@pytest.mark.parametrize("count", [0, 1, 40, 500])
def test_it_asks_nothing_of_elsewhere_and_its_ids_are_unique(page, count):
    made = page(sweep(count))
    assert "http:" not in made.source and "https:" not in made.source and "@import" not in made.source
    allowed = re.compile(r"#f\d+-\d+|data:,")
    for _, attributes in made.elements:
        assert "src" not in attributes and "srcset" not in attributes and "data" not in attributes
        assert allowed.fullmatch(attributes.get("href", "data:,"))
    assert all(re.fullmatch(r"#f\d+-\d+", target) for target in re.findall(r"url\(([^)]*)\)", made.source))
    ids = [attributes["id"] for _, attributes in made.elements if "id" in attributes]
    assert len(set(ids)) == len(ids)
    referred = {a["href"][1:] for a in made.all("use")} | set(re.findall(r"url\(#([^)]*)\)", made.source))
    assert referred <= set(ids)
    assert "default-src 'none'" in made.all("meta")[3]["content"]
    assert len(made.source.encode()) < 3_000_000
    assert not made.all("image")


def test_an_empty_sweep(page):
    made = page(sweep(0, planned=12))
    assert drawn(made) == []
    assert made.texts("p")[:1] == [
        "12 planned, 0 finished, 0 pruned, 0 failed, 0 running, 12 waiting, 0 reused, 0 examples trained, 1 min 00 s. "
        "Not complete: this is how it stood when this page was written."
    ]
    assert {"No trial has finished yet.", "None yet.", "None."} <= set(made.texts("p"))
    assert made.texts("figcaption") == [
        *("No evaluations yet.", "No trial has finished yet.", "No trials yet: there is nothing to compare."),
    ]


def test_one_trial(page):
    made = page(sweep(1))
    assert drawn(made) == ["Learning curves", "Best so far", "lr", "temperature"]
    assert made.texts("figcaption") == [
        "Every trial is of one method, PKD-Skip: there is nothing to compare.",
        "Trials without this parameter, not drawn: 1.",
    ]
    assert made.rows() == 1 and markers(made, "lr") == {"best": 1}


def test_nothing_but_pruned_trials(page):
    record = sweep(7)
    made = page(replace(record, trials=tuple(trial for trial in record.trials if trial.state == PRUNED)))
    assert drawn(made) == ["Learning curves", "PKD-Skip against PKD-Last", "lr", "temperature", "teacher_layers"]
    assert made.texts("figcaption")[1] == "PKD-Skip: none finished. PKD-Last: none finished."
    assert markers(made, "lr") == {"hollow": 2}


def test_all_trials_and_figures(page):
    record = sweep(500)
    made = page(record)
    assert drawn(made) == [
        *("Learning curves", "Best so far", "PKD-Skip against PKD-Last", "lr", "temperature", "teacher_layers"),
    ]
    assert made.rows() == 500
    assert made.texts("th.button") == [
        *("trial", "score", "method", "lr", "temperature", "teacher_layers", "state", "steps", "examples", "time"),
    ]
    assert set(made.texts("td.details.code")) == {trial.command for trial in record.trials}
    assert made.texts("li") == [f"trial {trial.number}: Out of memory" for trial in record.trials if trial.error]
    scored = Counter("filled" if t.state == FINISHED else "hollow" for t in record.trials if t.score is not None)
    for title in ("PKD-Skip against PKD-Last", "lr", "teacher_layers"):
        assert markers(made, title) == scored - Counter(filled=1) + Counter(best=1)
    assert markers(made, "Best so far") == Counter(filled=scored["filled"] - 1, best=1)


def test_the_best_trial(page):
    record = sweep(40)
    best, made = record.best, page(record)
    assert made.texts("p.code") == [best.command]
    assert made.texts("p.strong") == [f"{best.score:.2%}"]
    assert made.source.count('<tr class="best">') == 1
    line = made.source.split('<tr class="best">')[1]
    assert f"<summary>{best.number}</summary>" in line[: line.index("</tr>")]
    assert made.texts("table.tbody.tr.td")[:3] == ["dev", "accuracy", f"{best.score:.2%}"]


def test_parameters_without_meaning(page):
    record = sweep(40)
    made = page(record)
    without = [t for t in record.trials if t.parameters["temperature"] is None and t.score is not None]
    drawn_points = sum(t.score is not None for t in record.trials) - len(without)
    assert f"Trials without this parameter, not drawn: {len(without)}." in made.texts("figcaption")
    assert sum(markers(made, "temperature").values()) == drawn_points
    assert '<td data-sort="">–</td>' in made.source
    never = [replace(t, parameters={"beta": None}) for t in record.trials]
    made = page(replace(record, trials=tuple(never)))
    assert "beta" not in drawn(made)


def test_a_method_without_scores_is_not_compared(page):
    record = sweep(4, ("pkd-skip", "ft"))
    record = replace(record, trials=(*record.trials[:3], replace(record.trials[3], score=None)))
    assert "PKD-Skip and FT were tried; fewer than two of them have scores yet." in page(record).texts("figcaption")


def test_axes(page):
    made = page(sweep(40))
    words = made.texts("text")
    assert {"accuracy (%)", "optimizer steps", "examples trained on, all trials together", "method"} <= set(words)
    assert {"1e-05", "2e-05", "5e-05", "PKD-Skip", "PKD-Last", "KD", "2,4", "–"} <= set(words)
    assert {"70", "80"} <= set(figure(made, "lr").itertext())
    points = page(replace(sweep(40), trials=tuple(replace(t, score=-1.5, curve=()) for t in sweep(40).trials)))
    assert "accuracy" in points.texts("text") and "accuracy (%)" not in points.texts("text")


POINTS = r"fill: var\(--(point|best)\).*"


def finished(number, score, **known):
    trial = _trial(0, random.Random(0), ["kd"])
    return replace(trial, number=number, score=score, **known)


def test_equal_values_have_a_mean_and_a_deviation(page):
    scores, values = (0.6, 0.8, 0.9), (1e-5, 1e-5, 1e-3)
    trials = tuple(finished(i, scores[i], parameters={"lr": values[i]}) for i in range(3))
    svg = figure(page(sweep(0, trials=trials)), "lr")
    (_, high), (_, low) = places(svg, r"fill: var\(--point\).*")
    drawn = sorted(y for _, y in places(svg, r"fill: var\(--ink\); stroke: var\(--ink\)"))
    middle, deviation = (low + high) / 2, (low - high) / 2**0.5
    assert drawn == pytest.approx([middle - deviation, middle, middle + deviation], abs=0.05)


def test_learning_rates_are_on_a_logarithmic_axis(page):
    lr, alpha = (1e-5, 2e-5, 5e-5), (0.2, 0.4, 0.7)
    made = page(sweep(0, trials=tuple(finished(i, 0.5, parameters={"lr": lr[i], "alpha": alpha[i]}) for i in range(3))))
    for name, share in (("lr", 0.4307), ("alpha", 0.4)):  # log 2 / log 5
        left, middle, right = [x for x, _ in places(figure(made, name), POINTS)]
        assert (middle - left) / (right - left) == pytest.approx(share, abs=0.001)


def test_the_box_of_a_method(page):
    trials = [finished(i, score) for i, score in enumerate((0.5, 0.6, 0.8, 0.9))] + [finished(4, 0.7, method="ft")]
    made = page(sweep(0, trials=tuple(trials)))
    note = "KD: best 90.00%, median 70.00% of 4 finished. FT: best 70.00%, median 70.00% of 1 finished."
    assert made.texts("figcaption")[0] == note
    svg = figure(made, "Methods")
    ys = sorted(y for _, y in places(svg, POINTS))
    (box,) = [corners for corners in paths(svg, r"fill: none; stroke: var\(--ink\)") if len(corners) == 5]
    shares = {round((ys[-1] - y) / (ys[-1] - ys[0]), 3) for _, y in box}
    assert sorted(shares) == pytest.approx([0.1875, 0.8125], abs=0.002)  # quartiles: 57.5 and 82.5 of 50 to 90


def test_best_so_far_is_in_the_order_in_which_trials_ended(page):
    trials = (
        finished(0, 0.9, ended=9.0, examples=100),
        finished(1, 0.5, ended=None, reused=True, examples=0),
        finished(2, 0.7, ended=3.0, examples=300),
        finished(3, 0.6, ended=5.0, examples=500),
        replace(finished(4, 0.95, ended=1.0, examples=100), state=PRUNED),
    )
    svg = figure(page(sweep(0, trials=trials)), "Best so far")
    (line,) = paths(svg, r"fill: none; stroke: var\(--best\)")
    (left, low), (right, high) = line[0], line[-1]
    shape = [((x - left) / (right - left), (low - y) / (low - high)) for x, y in line]
    for corner in [(0, 0), (0.4, 0), (0.4, 0.5), (0.9, 0.5), (1, 0.5), (1, 1)]:
        assert any(point == pytest.approx(corner, abs=0.01) for point in shape), (corner, shape)


def test_formulas_are_not_set(page):
    trials = (finished(0, -1.0, parameters={"$\\bad{$": "$^_$"}),)
    made = page(sweep(0, metric="$\\frac{1}$", trials=trials))
    assert {"$\\frac{1}$", "$\\bad{$", "$^_$"} <= set(made.texts("text"))


def test_values_are_escaped_wherever_they_stand(page):
    parameters = {HOSTILE: HOSTILE, "plain": 1}
    trials = [
        replace(
            trial,
            parameters=parameters,
            method=HOSTILE if trial.number else "kd",
            command=HOSTILE,
            out=HOSTILE,
            metrics={HOSTILE: {HOSTILE: 0.5}},
            error=trial.error and HOSTILE,
        )
        for trial in sweep(6).trials
    ]
    record = SweepRecord(HOSTILE, HOSTILE, HOSTILE, HOSTILE, {HOSTILE: HOSTILE}, tuple(trials), 6, True, 1.0)
    made = page(record)
    assert len(made.all("script")) == 1 and not made.all("img")
    assert not any(key.startswith("on") for _, attributes in made.elements for key in attributes)
    shown = f'{SCRIPT}"><img src=http://evil/x onerror=alert(1)>��$\\frac{{1}}$'
    for place in "h1 title dd dd.span dd.code p.code td td.details.code td.details.div h3 th.button".split():
        assert any(shown in text for text in made.texts(place)), place
    assert made.texts("li") == [f"trial {t.number}: {shown}" for t in trials if t.state == FAILED]
    assert f"{SCRIPT[:15]}…" in made.texts("text")


def test_scores_and_values_that_are_no_numbers(page):
    odd = [("nan", float("nan")), ("inf", float("inf"))]
    trials = [replace(sweep(1).trials[0], number=i, score=s, parameters={"lr": s}) for i, (_, s) in enumerate(odd)]
    made = page(replace(sweep(1), trials=(*trials, replace(sweep(1).trials[0], number=2, parameters={"lr": 10**400}))))
    assert made.rows() == 3 and markers(made, "lr") == {"filled": 1}


def test_too_many_words_are_not_drawn(page):
    trials = [replace(t, parameters={"init": f"model-{t.number}"}) for t in sweep(60).trials]
    made = page(replace(sweep(60), trials=tuple(trials)))
    assert "40 different values: too many to draw." in made.texts("figcaption") and "init" not in drawn(made)


def test_long_curves_are_thinned_and_keep_their_end(page):
    record = sweep(500)
    curve = tuple((step, 0.5 + step / 10_000) for step in range(1, 2001))
    made = page(replace(record, trials=tuple(replace(t, curve=curve) for t in record.trials)))
    assert len(made.source.encode()) < 3_000_000
    svg = re.search(r"<svg[^>]*Learning curves.*?</svg>", made.source, re.DOTALL)[0]
    assert 10_000 < len(re.findall(r"[ML] [\d.]+ [\d.]+", svg)) < 22_000


def test_the_same_record_gives_the_same_bytes(page, tmp_path, monkeypatch):
    record = sweep(40)
    here = page(record).source
    monkeypatch.setenv("MATPLOTLIBRC", str(tmp_path / "matplotlibrc"))
    (tmp_path / "matplotlibrc").write_text("xtick.labelsize: 30\n")
    code = (
        "import sys; sys.path[:0] = sys.argv[2:]\n"
        "from pathlib import Path; from test_page import sweep, write_page\n"
        "write_page(sweep(40), Path(sys.argv[1]))\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path / "other.html", ROOT, Path(__file__).parent], check=True)
    assert (tmp_path / "other.html").read_text() == here
    assert not re.search(r"20\d\d-\d\d-\d\d", here)


def test_it_is_replaced_whole(page, tmp_path):
    page(sweep(1))
    page(sweep(2))
    assert [path.name for path in tmp_path.iterdir()] == ["sweep.html"]
