"""Trials: which settings are one training, and which share a pack."""

import json
from dataclasses import replace

import pytest
from safetensors.torch import load_file

from pipeline.config.sweep import SweepConfig
from pipeline.config.training import TrainStudentConfig
from pipeline.training.student import advance, advance_pack
from stages.sweep.search.space import read_space
from stages.sweep.search.trials import Trials, varying
from tests.helpers.encoders import SIZES
from tests.pipeline.training.test_pack import NO_DROPOUT


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


def test_trials_of_chosen_layers_show_them_and_have_the_key_of_their_run(tiny, trials, tmp_path):
    space = 'init_layers = ["1,2", "2,4"]\nseed = [1, 2]\nmax_steps = 2\nprecision = "float32"\ninit = '
    (tmp_path / "s.toml").write_text(f'{space}"{tiny.encoder}"')  # it has no head: a new one is drawn
    made = trials.distinct(read_space(str(tmp_path / "s.toml"), str(tiny.arrow)).settings())
    assert varying(t.option_values for t in made) == ["seed", "init_layers"] and len(made) == 4
    assert [t.option_values["init_layers"] for t in made] == [None, None, "2,4", "2,4"]
    config = replace(made[3].config, out=str(tmp_path / "run"))
    advance(config)
    assert replace(made[3], config=config).result() is not None  # of the same weights, those of the new head included


def test_students_of_random_weights_and_learned_maps_in_a_pack(tiny, tmp_path):
    file = tmp_path / "c.json"
    file.write_text(
        json.dumps({"model_type": "bert", **SIZES, "hidden_size": 16, "num_hidden_layers": 3, **NO_DROPOUT})
    )
    start = dict(init="random", student_config=str(file), project=True, max_steps=6, eval_every=3, precision="float32")
    configs = [
        TrainStudentConfig(cache=str(tiny.arrow), seed=seed, lr=1e-3, out=str(tmp_path / f"pack-{seed}"), **start)
        for seed in (1, 2)
    ]
    paused = advance_pack([replace(config, resume=True) for config in configs], until=4)
    assert [type(result).__name__ for result in paused] == ["PausedTraining"] * 2
    packed = advance_pack([replace(config, resume=True) for config in configs])
    alone = [advance(replace(config, out=str(tmp_path / f"alone-{config.seed}"))) for config in configs]
    for one, other in zip(packed, alone, strict=True):
        assert one.projected and other.projected and one.student_layers == 3
        a, b = (load_file(f"{result.out}/model/model.safetensors") for result in (one, other))
        assert a.keys() == b.keys() and not any(name.startswith("maps") for name in a)
        assert max(float((a[name] - b[name]).abs().max()) for name in a if not name.endswith(".key.bias")) < 1e-5
