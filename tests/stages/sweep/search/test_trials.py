"""Trials: which settings are one training, and which share a pack."""

import pytest

from pipeline.config.sweep import SweepConfig
from stages.sweep.search.space import read_space
from stages.sweep.search.trials import Trials


def test_students_of_other_checkpoints_are_not_packed(tiny):
    trials = Trials(SweepConfig())
    made = [
        trials.make({"cache": str(tiny.arrow), "method": "kd", "init": init}) for init in ("teacher", str(tiny.encoder))
    ]
    assert made[0].batches != made[1].batches
    assert made[0].batches == trials.make({"cache": str(tiny.arrow), "method": "kd", "lr": 1.0}).batches


@pytest.fixture
def trials(tiny):
    return Trials(SweepConfig(cache=str(tiny.arrow)))


def test_settings_that_mean_the_same_are_one_trial(tiny, trials, tmp_path):
    (tmp_path / "s.toml").write_text('method = ["ft", "kd", "pkd-skip"]\nbeta = [1, 2]\nalpha = [0.2, 0.7]')
    found = trials.distinct(read_space(str(tmp_path / "s.toml"), str(tiny.arrow)).settings())
    assert [(t.recipe.options["method"], t.recipe.options["alpha"], t.recipe.options["beta"]) for t in found] == [
        ("ft", None, None),
        ("kd", 0.2, None),
        ("kd", 0.7, None),
        ("pkd-skip", 0.2, 1.0),
        ("pkd-skip", 0.7, 1.0),
        ("pkd-skip", 0.2, 2.0),
        ("pkd-skip", 0.7, 2.0),
    ]
    assert len({t.config.out for t in found}) == len({t.key for t in found}) == 7
    assert "--beta" not in found[1].command and "--alpha 0.2" in found[1].command  # what has no meaning is not typed
