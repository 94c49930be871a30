"""The figures of a sweep's page: what they draw, and where."""

import re
from dataclasses import replace

import pytest

from stages.sweep.search.record import PRUNED
from tests.helpers.sweep_pages import POINTS, drawn, figure, finished, markers, paths, places, sweep


def test_nothing_but_pruned_trials(page):
    record = sweep(7)
    made = page(replace(record, trials=tuple(trial for trial in record.trials if trial.state == PRUNED)))
    assert drawn(made) == ["Learning curves", "PKD-Skip against PKD-Last", "lr", "temperature", "teacher_layers"]
    assert made.texts("figcaption")[1] == "PKD-Skip: none finished. PKD-Last: none finished."
    assert markers(made, "lr") == {"hollow": 2}


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


def test_scores_and_values_that_are_not_numbers(page):
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
