"""Students trained together are the students trained alone: in the end, on the way, and after anything went wrong."""

import gc
import json
import os
import signal

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification

from pipeline.cache.open import open_cache
from pipeline.config.training import TrainStudentConfig
from pipeline.errors import BadOption, BusyRun, Interrupted, TrainingDiverged
from pipeline.training.run_reader import read_predictions
from pipeline.training.student import advance, advance_pack
from pipeline.training.training_state import PausedTraining
from stages import train_student
from stages.sweep.search.packing import measure_pack
from tests.helpers.processes import start_function
from tests.helpers.waiting import wait_until

STUDENTS = {
    "skip": dict(method="pkd-skip", lr=1e-3, temperature=5.0, seed=1),
    "last": dict(method="pkd-last", lr=5e-4, alpha=0.2, beta=10.0, reduction="paper", warmup=0.5),
    "kd": dict(method="kd", lr=3e-4, temperature=20.0, alpha=0.7, seed=2),
    "ft": dict(method="ft", lr=2e-3, weight_decay=0.1, select="last"),
}
SHORT = dict(max_steps=24, eval_every=6, precision="float32", log_every=1)


def configs(tiny, out, names=STUDENTS, resume=True, **options):
    common = SHORT | {"cache": str(tiny.no_dropout), "resume": resume} | options
    return [TrainStudentConfig(out=str(out / name), **(common | STUDENTS[name])) for name in names]


def weights(out):
    return load_file(out / "model" / "model.safetensors")


def comparable(value):
    """A JSON value without average precisions: they order examples by logits that differ by rounding."""
    if not isinstance(value, dict):
        return value
    return {name: comparable(item) for name, item in value.items() if name != "average_precision"}


def log(out):
    return [comparable(json.loads(line)) for line in (out / "log.jsonl").read_text().splitlines()]


def numbers(line):
    """A line of the log: what is text, what was measured, and the rest, which is rounded."""
    texts = {name: value for name, value in line.items() if isinstance(value, str)}
    rounded = {name: value for name, value in line.items() if isinstance(value, float | int)}
    rounded |= line.get("pt_by_layer", {})
    return texts, line.get("metrics"), pytest.approx(rounded, rel=1e-4, abs=1e-5)


def assert_same(one, other):
    """Weights, predictions, every line of the log and what run.json says, up to the rounding of float32."""
    a, b = weights(one), weights(other)
    assert a.keys() == b.keys()
    # Softmax does not see what a key's bias adds to all scores, so its gradient is rounding, and AdamW follows that.
    seen = [name for name in a if not name.endswith(".key.bias")]
    assert max(float((a[name] - b[name]).abs().max()) for name in seen) < 1e-5
    np.testing.assert_allclose(read_predictions(one)["dev"], read_predictions(other)["dev"], atol=1e-5)
    counted = [line for line in log(other) if line["kind"] != "rung"]
    assert [numbers(line) for line in log(one)] == [
        (texts, metrics, rounded.expected) for texts, metrics, rounded in map(numbers, counted)
    ]
    first, second = (comparable(json.loads((out / "run.json").read_text())) for out in (one, other))
    assert all(first[k] == second[k] for k in ("config", "inputs", "cache", "steps", "best", "last", "stopped_early"))
    for result in (first["result"], second["result"]):
        for name in ("out", "seconds", "train_examples_per_second"):
            del result[name]
    assert first["result"] == second["result"]
    names = {p.name for p in one.iterdir()}
    assert names == {p.name for p in other.iterdir()} == {"log.jsonl", "model", "predictions.safetensors", "run.json"}


@pytest.fixture(scope="module")
def alone(tiny, tmp_path_factory):
    out = tmp_path_factory.mktemp("alone")
    for config in configs(tiny, out):
        train_student.run(config)
    return out


def test_packed_is_alone(tiny, tmp_path, alone):
    seen = []
    results = advance_pack(configs(tiny, tmp_path), None, lambda place, at: seen.append((place, at.step)))
    assert [result.out for result in results] == [str(tmp_path / name) for name in STUDENTS]
    assert seen == [(place, step) for step in range(1, 25) for place in range(4)]
    for name in STUDENTS:
        assert_same(alone / name, tmp_path / name)
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "skip" / "model")
    assert torch.equal(model.classifier.weight, weights(tmp_path / "skip")["classifier.weight"])
    assert advance_pack(configs(tiny, tmp_path)) == results  # as they are there


def test_halving(tiny, tmp_path, alone):
    """Four to step 4, then two of them to step 10 and to the end, and one by itself: each as if never packed."""
    paused = advance_pack(configs(tiny, tmp_path), 4)
    assert [(at.step, at.total) for at in paused] == [(4, 24)] * 4
    assert all(isinstance(at, PausedTraining) and at.evaluation.step == 4 for at in paused)
    assert sorted(os.listdir(tmp_path / "ft")) == ["checkpoint.safetensors", "log.jsonl", "started.json"]
    two = configs(tiny, tmp_path, ["skip", "ft"])
    assert [at.step for at in advance_pack(two, 10)] == [10, 10]
    advance_pack(two)
    train_student.run(*configs(tiny, tmp_path, ["last"]))
    for name in ("skip", "ft", "last"):
        assert_same(alone / name, tmp_path / name)
    assert not (tmp_path / "kd" / "run.json").exists()


def test_one_that_is_behind_catches_up_first(tiny, tmp_path, alone, capfd):
    """As after a kill between two checkpoints of a pack."""
    advance(*configs(tiny, tmp_path, ["skip"]), 9)
    advance(*configs(tiny, tmp_path, ["kd"]), 4)
    seen = []
    three = configs(tiny, tmp_path, ["skip", "kd", "ft"])
    advance_pack(three, None, lambda place, at: seen.append((at.step, place)))
    behind = [(step, 2) for step in range(1, 5)] + [(step, place) for step in range(5, 10) for place in (1, 2)]
    assert seen == behind + [(step, place) for step in range(10, 25) for place in range(3)]
    error = capfd.readouterr().err
    assert "going on from step 4 of 24\ngoing on from step 9 of 24\n" in error
    for name in ("skip", "kd", "ft"):
        assert_same(alone / name, tmp_path / name)


def test_an_early_stop_leaves_the_others_going(tiny, tmp_path, alone):
    """Its run is complete while the others train on."""
    packed = configs(tiny, tmp_path)
    packed[1] = TrainStudentConfig(**vars(packed[1]) | {"early_stop": 1, "lr": 1e-9})
    complete = []
    results = advance_pack(
        packed, None, lambda place, at: complete.append((at.step, (tmp_path / "last" / "run.json").exists()))
    )
    train_student.run(TrainStudentConfig(**vars(packed[1]) | {"out": str(tmp_path / "stopped")}))
    assert_same(tmp_path / "stopped", tmp_path / "last")
    record = json.loads((tmp_path / "last" / "run.json").read_text())
    assert record["stopped_early"] and record["steps"] == 12 and results[1].metrics
    assert {step for step, there in complete if there} == set(range(13, 25))
    for name in ("skip", "kd", "ft"):
        assert_same(alone / name, tmp_path / name)


def bytes_of_tensors():
    gc.collect()
    storages = [t.untyped_storage() for t in gc.get_objects() if issubclass(type(t), torch.Tensor) and t.numel()]
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())


def test_one_that_leaves_gives_back_its_memory(tiny, tmp_path):
    packed = configs(tiny, tmp_path, select="last")
    packed[1] = TrainStudentConfig(**vars(packed[1]) | {"early_stop": 1, "lr": 1e-9})
    taken = {}

    def watch(_place, at):
        if at.step in (12, 13) and at.step not in taken:
            taken[at.step] = bytes_of_tensors()

    advance_pack(packed, 14, watch)
    own = sum(4 * tensor.numel() for tensor in weights(tmp_path / "last").values())
    assert taken[12] - taken[13] == pytest.approx(4 * own, rel=0.01)  # weights, gradients and two moments


def test_one_that_diverges_harms_nobody(tiny, tmp_path, alone):
    packed = configs(tiny, tmp_path)
    packed[2] = TrainStudentConfig(**vars(packed[2]) | {"lr": 1e30})
    results = advance_pack(packed)
    assert isinstance(results[2], TrainingDiverged)
    assert str(results[2]).startswith("the loss or its gradient is not finite at step ")
    assert str(results[2]).endswith(f"no checkpoint was written yet in {tmp_path / 'kd'}. Try a smaller --lr or --beta")
    assert sorted(os.listdir(tmp_path / "kd")) == ["log.jsonl", "started.json"]
    for name in ("skip", "last", "ft"):
        assert_same(alone / name, tmp_path / name)


def test_a_run_of_another_process_and_one_that_is_complete(tiny, tmp_path, alone):
    """Neither is trained, the others are."""
    from pipeline.system.lease import directory_lease

    done = train_student.run(*configs(tiny, tmp_path, ["skip"]))
    advance(*configs(tiny, tmp_path, ["last"]), 4)
    with (tmp_path / "last" / "log.jsonl").open("a") as file:
        file.write("{}\n")  # the other process is beyond its checkpoint
    lease = directory_lease(tmp_path / "last")
    assert lease.acquire() is None

    def files():
        return {path.name: path.read_bytes() for path in (tmp_path / "last").iterdir() if path.is_file()}

    before = files()
    try:
        results = advance_pack(configs(tiny, tmp_path))
        assert files() == before and len(before) == 3
    finally:
        lease.release()
    assert results[0] == done and isinstance(results[1], BusyRun)
    for name in ("kd", "ft"):
        assert_same(alone / name, tmp_path / name)


def train_all(packed):
    for result in advance_pack(packed):
        print(type(result).__name__, result if isinstance(result, Exception) else "")


def start(packed):
    return start_function(train_all, packed)


def wait_for_lines(process, file, lines):
    assert wait_until(lambda: file.exists() and file.read_text().count("\n") >= lines, process=process)


@pytest.mark.process
@pytest.mark.parametrize("kills", [(9,), pytest.param((2, 9, 16), marks=pytest.mark.soak)])
def test_killed_and_resumed(tiny, tmp_path, alone, kills):
    packed = configs(tiny, tmp_path, checkpoint_seconds=0)
    for lines in kills:
        process = start(packed)
        wait_for_lines(process, tmp_path / "ft" / "log.jsonl", lines)
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    advance_pack(packed)
    for name in STUDENTS:
        assert_same(alone / name, tmp_path / name)


@pytest.mark.soak
@pytest.mark.process
def test_a_signal_stops_all_with_their_checkpoints(tiny, tmp_path, alone):
    packed = configs(tiny, tmp_path)
    slow = [TrainStudentConfig(**vars(config) | {"max_steps": 5000, "epochs": 1000.0}) for config in packed]
    process = start(slow)
    wait_for_lines(process, tmp_path / "ft" / "log.jsonl", 5)
    process.send_signal(signal.SIGTERM)
    stdout, _ = process.communicate(timeout=120)
    lines = stdout.splitlines()
    steps = {line.split("stopped at step ")[1].split(" of 5000")[0] for line in lines}
    assert len(lines) == 4 and len(steps) == 1  # all at the same one
    for line, name in zip(lines, STUDENTS, strict=True):
        assert line == (
            f"{Interrupted.__name__} stopped at step {min(steps)} of 5000; the checkpoint is in {tmp_path / name}. "
            "Run the same command to go on"
        )
        assert (tmp_path / name / "checkpoint.safetensors").exists()


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"batch_size": 16}, "--batch-size 16 and 32"),
        ({"data_seed": 3}, "--data-seed 0 and 3"),
        ({"eval_every": 5}, "--eval-every 5 and 6"),
        ({"grad_accumulation": 2}, "--grad-accumulation 1 and 2"),
        ({"max_steps": 12}, "steps 12 and 24"),
        ({"student_layers": 3}, "--student-layers 2 and 3"),
        ({"precision": "bfloat16"}, "--precision bfloat16 and float32"),
        ({"cache": "/elsewhere"}, "--cache /elsewhere and {cache}"),
    ],
)
def test_students_that_cannot_share_a_pack_are_refused(tiny, tmp_path, other, message):
    one, two = configs(tiny, tmp_path, ["skip", "kd"])
    with pytest.raises(BadOption) as caught:
        advance_pack([one, TrainStudentConfig(**vars(two) | other)])
    assert str(caught.value) == (
        "students of a pack have data, shape and schedule in common, and these have "
        f"{message.format(cache=one.cache)}. Train them apart"
    )
    assert not list(tmp_path.iterdir())


def test_sizes_of_a_pack_are_measured(tiny, tmp_path):
    [config] = configs(tiny, tmp_path, ["skip"])
    seconds = measure_pack(open_cache(tiny.no_dropout), config, sizes=(1, 3), steps=2)
    assert list(seconds) == [1, 3] and all(0 < value < 60 for value in seconds.values())
    assert not list(tmp_path.iterdir())
