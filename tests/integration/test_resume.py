"""Stopped by real signals, gone on with, and the same in the end."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from tests.helpers.paths import CLI


def command(tiny, out, *words):
    options = [
        "--epochs",
        "6",
        "--precision",
        "float32",
        "--lr",
        "1e-3",
        "--log-every",
        "1",
        "--checkpoint-seconds",
        "0",
        "--eval-every",
        "7",
    ]
    return [sys.executable, CLI, "train-student", "--cache", str(tiny.arrow), "--out", str(out), *options, *words]


def files(out):
    return {str(p.relative_to(out)): p.read_bytes() for p in out.rglob("*") if p.is_file() and p.name != "run.json"}


@pytest.fixture(scope="module")
def uninterrupted(tiny, tmp_path_factory):
    out = tmp_path_factory.mktemp("uninterrupted") / "run"
    subprocess.run(command(tiny, out), check=True, capture_output=True)
    return out


def start_and_stop(tiny, out, number, lines, *words):
    process = subprocess.Popen(command(tiny, out, *words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    log = out / "log.jsonl"
    while process.poll() is None and (not log.exists() or log.read_text().count("\n") < lines):
        time.sleep(0.01)
    process.send_signal(number)
    return process, process.communicate(timeout=60)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_says_how_to_go_on_and_ends_with_the_same_bytes(tiny, tmp_path, uninterrupted, number):
    out = tmp_path / "run"
    process, (stdout, stderr) = start_and_stop(tiny, out, number, 10)
    assert process.returncode == 128 + number and stdout == ""
    line = stderr.splitlines()[-1]
    assert line.startswith("Error: stopped at step ")
    assert line.endswith(f"the checkpoint is in {out}. Run the same command with --resume to go on")
    assert not (out / "run.json").exists() and not (out / "model").exists()

    refused = subprocess.run(command(tiny, out), capture_output=True, text=True)
    assert refused.returncode == 2
    assert refused.stderr.splitlines()[-1] == (
        f"Error: {out} holds this run, unfinished. Add --resume to go on with it, or choose another --out"
    )
    resumed = subprocess.run(command(tiny, out, "--resume"), capture_output=True, text=True, check=True)
    assert "going on from step " in resumed.stderr
    assert files(out) == files(uninterrupted)
    a, b = (json.loads((d / "run.json").read_text())["result"] for d in (out, uninterrupted))
    assert (a["metrics"], a["agreement"]) == (b["metrics"], b["agreement"])


def test_killed_again_and_again(tiny, tmp_path, uninterrupted):
    out = tmp_path / "run"
    for lines in (1, 15, 30):
        process, _ = start_and_stop(tiny, out, signal.SIGKILL, lines, "--resume")
        assert process.returncode == -signal.SIGKILL and not (out / "run.json").exists()
    (out / ".tmpRWXLHQ").write_bytes(b"half")  # as safetensors leaves it when the kill falls into its writing
    subprocess.run(command(tiny, out, "--resume"), check=True, capture_output=True)
    assert files(out) == files(uninterrupted)


def test_two_processes_train_the_same_student_as_one(tiny, tmp_path):
    """`accelerate launch`: each process takes its share of every batch, and the step is that of the whole batch."""
    base = [CLI, "train-student", "--cache", str(tiny.no_dropout)]
    base += "--precision float32 --log-every 1 --max-steps 12 --eval-every 6 --grad-accumulation 2 --lr 1e-3".split()
    launch = [sys.executable, "-m", "accelerate.commands.launch"]
    # --cpu would start one process whatever --num_processes says; the launcher for GPUs starts two on the CPU as well
    launch += "--multi_gpu --num_processes 2 --num_machines 1 --mixed_precision no --dynamo_backend no".split()
    environment = os.environ | {"ACCELERATE_USE_CPU": "true"}
    two = subprocess.run(
        [*launch, *base, "--out", str(tmp_path / "two")], capture_output=True, text=True, env=environment
    )
    assert two.returncode == 0, two.stderr
    assert json.loads((tmp_path / "two" / "run.json").read_text())["environment"]["processes"] == 2
    json_lines = [line for line in two.stdout.splitlines() if line.startswith("{")]
    assert len(json_lines) == 1 and json.loads(json_lines[0])["command"] == "train-student"
    subprocess.run([sys.executable, *base, "--out", str(tmp_path / "one")], capture_output=True, check=True)

    def log(out):
        lines = [json.loads(line) for line in (tmp_path / out / "log.jsonl").read_text().splitlines()]
        steps = [line for line in lines if line["kind"] == "train"]
        return [line["loss"] for line in steps], [line["grad_norm"] for line in steps], lines[-1]["metrics"]

    (losses, norms, metrics), one = log("two"), log("one")
    assert len(losses) == 12 and losses == pytest.approx(one[0], rel=1e-4)
    assert norms == pytest.approx(one[1], rel=1e-2)  # AdamW would hide a gradient of another size
    assert metrics == one[2]
