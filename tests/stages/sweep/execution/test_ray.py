"""A sweep on a real Ray cluster, one node of which is killed in the middle."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pipeline.config.training import TrainStudentConfig
from stages.sweep.execution.ray import CRASHES, ray_engine
from stages.sweep.execution.worker import Job, TrialOutcome
from tests.helpers.clusters import NODE, left_behind, workers_of
from tests.helpers.paths import CLI
from tests.helpers.waiting import wait_until

SPACE = 'method = ["kd", "pkd-skip"]\nlr = [1e-3, 5e-3]\nbeta = [1, 100]\nepochs = 6\nprecision = "float32"\n'
SPACE += "log_every = 1\ncheckpoint_seconds = 0.1\n"
SIX = 6  # of the eight settings: beta has no meaning for KD
STEPS = 60


@pytest.fixture
def space(in_directory):
    (in_directory / "space.toml").write_text(SPACE)
    return "space.toml"


def words(tiny, space, *more):
    return ["sweep", "--cache", str(tiny.arrow), "--space", space, "--strategy", "grid", "--out", "sweeps/s", *more]


def on(cluster):
    return "--engine", "ray", "--ray-address", cluster.address


def weights():
    return {path.parts[-3]: path.read_bytes() for path in Path("runs").rglob("model.safetensors")}


def steps_logged(out):
    lines = [json.loads(line) for line in (Path(out) / "log.jsonl").read_text().splitlines()]
    return [line["step"] for line in lines if line["kind"] == "train"]


def lease_of(file):
    """Who trains now in the run of this file."""
    try:
        return json.loads((file.parent / ".partial" / "lease.json").read_text())
    except (OSError, ValueError):
        return {"pid": 0, "token": None}


@pytest.mark.soak
@pytest.mark.parametrize("trials", [3, SIX])
def test_a_node_is_lost_and_the_winner_is_that_of_the_local_engine(
    tiny, space, call, cluster, in_directory, trials_in_this_process, trials
):
    if trials < SIX:
        Path(space).write_text(SPACE.replace("[1e-3, 5e-3]", "1e-3"))
    alone = call(*words(tiny, space)).json
    undisturbed = weights()
    os.rename("runs", "runs-local")
    os.rename("sweeps", "sweeps-local")
    lost, ended = [], []

    def kill_a_node():
        wait_until(lambda: ended or list(Path("runs").rglob("run.json")))
        while not lost and not ended:
            time.sleep(0.01)
            nodes = workers_of(cluster)
            for checkpoint in Path("runs").rglob("checkpoint.safetensors"):
                pid = lease_of(checkpoint)["pid"]
                if not lost and pid in nodes and len(steps_logged(checkpoint.parent)) < STEPS // 2:
                    cluster.remove_node(nodes[pid], allow_graceful=False)
                    lost.append((checkpoint.parent, (checkpoint.parent / "run.json").exists()))

    killer = threading.Thread(target=kill_a_node)
    killer.start()
    found = call(*words(tiny, space, *on(cluster)))
    ended.append(True)
    killer.join()
    try:
        assert found.code == 0, found.stderr
        assert "raylet" not in found.stdout + found.stderr
        [(run, was_complete)] = lost
        assert not was_complete and (run / "run.json").exists()
        assert (found.json["finished"], found.json["failed"], found.json["reused"]) == (trials, 0, 0)
        assert found.json["best"] == alone["best"]
        assert weights() == undisturbed
        assert all(steps_logged(path.parent) == list(range(1, STEPS + 1)) for path in Path("runs").rglob("run.json"))
        # what the lost node had trained since its last report is not counted; the rest went on from its checkpoint
        assert found.json["examples_trained"] < trials * 6 * 300
        assert not left_behind(in_directory)
    finally:
        cluster.add_node(**NODE)


@pytest.mark.soak
def test_asked_to_stop_it_writes_checkpoints(tiny, space, call, cluster, in_directory):
    Path(space).write_text(SPACE.replace("epochs = 6", "epochs = 500").replace("seconds = 0.1", "seconds = 600"))
    line = [sys.executable, CLI, *words(tiny, space, *on(cluster))]
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert wait_until(lambda: list(Path("runs").rglob("log.jsonl")), process=process), process.communicate()
    process.send_signal(signal.SIGTERM)  # for which Ray would have a handler of its own
    stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 143 and stdout == ""
    assert stderr.splitlines()[-1] == "Error: stopped; running trials have checkpoints. Run the same command to go on"
    assert list(Path("runs").rglob("checkpoint.safetensors"))
    assert not left_behind(in_directory) and "(raylet)" not in stderr


def job(cache, **options):
    config = TrainStudentConfig(cache=str(cache), out="runs/one", method="kd", resume=True, **options)
    return Job(("key",), (config,), None, "dev")


def outcome(engine):
    found = []
    while not found:
        found = [event for event in engine.events(0.5) if isinstance(event, TrialOutcome)]
    return found[0]


@pytest.mark.soak
def test_job_ended_by_its_node_resumes_and_one_that_always_dies_fails(tiny, cluster, in_directory):
    signals, seen = [signal.SIGTERM, *[signal.SIGKILL] * CRASHES], {None}
    with ray_engine(cluster.address, 0, 1.0) as engine:
        assert engine.slots == 2 + 2  # two cores, and two jobs that wait for an autoscaler
        engine.submit(job(tiny.arrow, epochs=500, precision="float32"))
        events = []
        while not any(isinstance(event, TrialOutcome) for event in events):
            events = engine.events(0.1)
            lease = next(map(lease_of, Path("runs").rglob("log.jsonl")), {"token": None})
            if lease["token"] not in seen:
                seen.add(lease["token"])
                os.kill(lease["pid"], signals.pop(0))
    [found] = events
    assert not signals and list(Path("runs").rglob("checkpoint.safetensors"))  # written at SIGTERM
    assert (found.kind, found.cause) == ("failed", "process killed")
    assert found.error == "its process was killed 3 times, on live nodes (out of memory?)"


def test_directory_that_a_node_does_not_share_fails_its_trials(tiny, cluster, in_directory):
    there = "Mount the directory of this call at the same path on every node, then run the same command again"
    with ray_engine(cluster.address, 1, 1.0) as engine:
        assert engine.slots == 1
        [mark] = in_directory.glob(".ray-*")
        mark.rename("away")
        engine.submit(job(tiny.arrow))
        other = outcome(engine)
        in_directory.rename(in_directory.with_name("moved"))
        engine.submit(job(tiny.arrow))
        none = outcome(engine)
        in_directory.with_name("moved").rename(in_directory)
    host = socket.gethostname()
    assert (other.kind, other.cause) == (none.kind, none.cause) == ("failed", "directory not shared")
    assert other.error == f"{in_directory} is not shared with {host} (another directory is there). {there}"
    assert none.error == f"{in_directory} is not shared with {host} (No such file or directory). {there}"


@pytest.mark.soak
def test_a_published_cache_comes_through_the_store_and_auto_is_what_the_driver_says(
    tiny, call, cluster, in_directory, monkeypatch
):
    url = f"file://{in_directory}/bucket/toy"
    assert call("cache", "push", tiny.arrow, url).code == 0
    monkeypatch.setenv("PKD_STORE", str(in_directory / "store"))  # which the nodes were not started with
    monkeypatch.setattr("stages.sweep.execution.ray.resolve_precision", lambda _: "float32")
    with ray_engine(cluster.address, 1, 1.0) as engine:
        engine.submit(job(url, max_steps=1))
        assert outcome(engine).kind == "done"
    assert list(Path("store").rglob("*.safetensors"))
    assert json.loads(Path("runs/one/run.json").read_text())["config"]["precision"] == "float32"


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (["--gpus-per-trial", "1.5"], "--gpus-per-trial above 1 must be a whole number, not 1.5"),
        (
            ["--ray-address", "127.0.0.1:1"],
            "no Ray cluster answers at 127.0.0.1:1 ([Errno 111] Connection refused). Start one with ray start --head "
            "and give --ray-address its host:port, or leave --ray-address out for one of this machine",
        ),
        (["--ray-address", "here"], "no Ray cluster answers at here (it has to be host:port)."),
    ],
)
def test_wrong_options_are_refused(tiny, space, call, options, error):
    found = call(*words(tiny, space, "--engine", "ray", *options))
    assert found.code == 2 and error in found.error


def test_without_ray_the_extra_is_named(tiny, space, call, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    found = call(*words(tiny, space, "--engine", "ray"))
    assert found.code == 2 and found.error.endswith("--engine ray needs the package ray: pip install '.[ray]'")
