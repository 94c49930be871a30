"""The page of a sweep: self-contained, escaped, and complete."""

import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace

import pytest

from stages.sweep.search.record import FAILED, FINISHED, SweepRecord
from tests.helpers.paths import ROOT
from tests.helpers.sweep_pages import HOSTILE, SCRIPT, drawn, markers, sweep


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


@pytest.mark.process
def test_the_same_record_gives_the_same_bytes(page, tmp_path, monkeypatch):
    record = sweep(40)
    here = page(record).source
    monkeypatch.setenv("MATPLOTLIBRC", str(tmp_path / "matplotlibrc"))
    (tmp_path / "matplotlibrc").write_text("xtick.labelsize: 30\n")
    code = (
        "import sys; sys.path[:0] = sys.argv[2:]\n"
        "from pathlib import Path\n"
        "from stages.sweep.report.page import write_page\n"
        "from tests.helpers.sweep_pages import sweep\n"
        "write_page(sweep(40), Path(sys.argv[1]))\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path / "other.html", ROOT], check=True)
    assert (tmp_path / "other.html").read_text() == here
    assert not re.search(r"20\d\d-\d\d-\d\d", here)


def test_it_is_replaced_whole(page, tmp_path):
    page(sweep(1))
    page(sweep(2))
    assert [path.name for path in tmp_path.iterdir()] == ["sweep.html"]
