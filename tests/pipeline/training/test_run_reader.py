"""Runs that another version of this program wrote, and runs that the system does not let us read."""

import json

import pytest

from pipeline.errors import BadRun
from pipeline.training.run_directory import RunDirectory
from pipeline.training.run_reader import RUN, checkpoint_step, read_predictions, read_run
from pipeline.training.student import StudentResult
from tests.helpers.limits import open_files_left
from tests.pipeline.training.test_run_directory import checkpoint


def test_a_result_of_another_version_is_said_to_be_one(tmp_path):
    path = tmp_path / "run"
    path.mkdir()
    key = {"command": "train-student", "config": {}, "inputs": {}}
    run = RunDirectory(path, "train-student", {}, {})
    for result, reason in (({"mood": 1, "out": "x"}, "it has mood"), ({"out": "x"}, "missing 10 required"), (None, "")):
        (path / RUN).write_text(json.dumps(key | {"result": result}))
        with pytest.raises(BadRun) as error:
            run.finished(StudentResult)
        line = str(error.value)
        assert line.startswith(f"{path / RUN} was written by another version of this program (") and reason in line
        assert line.endswith(f"Move {path} away, or choose another --out")


def test_a_limit_of_the_system_is_not_damage(tmp_path):
    path = tmp_path / "run"
    checkpoint(path, 5)
    run = RunDirectory(path, "train-student", {}, {})
    (path / RUN).write_text("{}")
    reads = (lambda: read_run(path), lambda: checkpoint_step(path), lambda: read_predictions(path))
    with open_files_left(0):
        for read in (*reads, run.load_checkpoint, lambda: run.finished(StudentResult)):
            with pytest.raises((OSError, BadRun)) as error:
                read()
            assert isinstance(error.value, OSError) or "predictions" in str(error.value)
    assert checkpoint_step(path) == 5


@pytest.mark.parametrize("value", [{"config": []}, {"inputs": 3}, {"result": "x"}])
def test_fields_of_other_types_are_damage(tmp_path, value):
    whole = {"command": "train-student", "config": {}, "result": {}}
    (tmp_path / RUN).write_text(json.dumps(whole | value))
    with pytest.raises(BadRun, match=r"run.json is damaged \(fields of other types\). Train the run again"):
        read_run(tmp_path)
