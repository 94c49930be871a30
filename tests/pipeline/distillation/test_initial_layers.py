"""The layers that a student starts from, as options name them."""

import json

import pytest

from pipeline.config.training import TrainStudentConfig
from pipeline.distillation.initial_layers import initial_layers
from pipeline.errors import BadOption


def layers_of(**options):
    return initial_layers(TrainStudentConfig(cache="c", **options), teacher_depth=6)


def test_layers_that_follow_from_the_options(tmp_path):
    assert layers_of() == (1, 2, 3) and layers_of(student_layers=2) == (1, 2)
    assert layers_of(init_layers="1, 3,6") == (1, 3, 6)
    assert layers_of(init_layers="2,4", student_layers=2) == (2, 4)
    assert layers_of(init="deep", student_layers=12) == tuple(range(1, 13))
    assert layers_of(init="deep", init_layers="1,12") == (
        1,
        12,
    )  # as many as the checkpoint has: checked when it is read
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"model_type": "bert", "num_hidden_layers": 5}))
    assert layers_of(init="random", student_config=str(file)) == (1, 2, 3, 4, 5)
    with pytest.raises(BadOption) as error:
        layers_of(init="random", student_config=str(file), student_layers=3)
    assert str(error.value) == (
        f"--student-config {file} has 5 layers, and --student-layers says 3. Leave --student-layers out"
    )


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (
            dict(init_layers="1,7"),
            "--init-layers 1,7: the teacher does not have a layer 7. Use layers from 1 to 6",
        ),
        (
            dict(init_layers="0,1"),
            "--init-layers 0,1: the teacher does not have a layer 0. Use layers from 1 to 6",
        ),
        (dict(init_layers="1,1"), "--init-layers 1,1: a layer is repeated. Name each once"),
        (dict(init_layers="3,1"), "--init-layers 3,1: layers must rise. Try --init-layers 1,3"),
        (dict(init_layers="all"), "--init-layers takes layer numbers as 2,4, not 'all'"),
        (
            dict(init_layers="1,3", student_layers=3),
            "--init-layers 1,3 makes a student of 2 layers, and --student-layers says 3. Leave --student-layers out",
        ),
        (dict(init="random"), "--init random needs --student-config FILE, the config.json of the student"),
        (
            dict(init="random", student_config="c.json", init_layers="1"),
            "--init-layers needs layers to start from, and --init random has none. Leave it out",
        ),
        (
            dict(student_config="c.json"),
            "--student-config is for a student with new weights, and this one starts from teacher. Add --init random, "
            "or leave --student-config out",
        ),
    ],
)
def test_options_that_contradict_each_other(options, text):
    with pytest.raises(BadOption) as error:
        layers_of(**options)
    assert str(error.value) == text
