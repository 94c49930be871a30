"""Stopped by real signals, gone on with, and the same in the end."""

import json
import os
import signal
import subprocess
import sys

import pytest
from click.testing import CliRunner

from cli import main
from tests.helpers.paths import CLI
from tests.helpers.processes import start_cli
from tests.helpers.transfer import with_transfer
from tests.helpers.waiting import wait_until

pytestmark = pytest.mark.process


def command(tiny, out, *words):
    options = [
        "--epochs",
        "4",
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
    return ["train-student", "--cache", str(tiny.arrow), "--out", str(out), *options, *words]


def files(out):
    return {str(p.relative_to(out)): p.read_bytes() for p in out.rglob("*") if p.is_file() and p.name != "run.json"}


@pytest.fixture(scope="module")
def uninterrupted(tiny, tmp_path_factory):
    out = tmp_path_factory.mktemp("uninterrupted") / "run"
    assert CliRunner().invoke(main, command(tiny, out)).exit_code == 0
    return out


def start_and_stop(tiny, out, number, lines, *words):
    process, log = start_cli(*command(tiny, out, *words)), out / "log.jsonl"
    assert wait_until(lambda: log.exists() and log.read_text().count("\n") >= lines, process=process)
    process.send_signal(number)
    return process, process.communicate(timeout=120)


@pytest.mark.parametrize("number", [pytest.param(signal.SIGINT, marks=pytest.mark.soak), signal.SIGTERM])
def test_a_stopped_run_says_how_to_go_on_and_ends_with_the_same_bytes(tiny, tmp_path, uninterrupted, call, number):
    out = tmp_path / "run"
    process, (stdout, stderr) = start_and_stop(tiny, out, number, 10)
    assert process.returncode == 128 + number and stdout == ""
    line = stderr.splitlines()[-1]
    assert line.startswith("Error: stopped at step ")
    assert line.endswith(f"the checkpoint is in {out}. Run the same command with --resume to go on")
    assert not (out / "run.json").exists() and not (out / "model").exists()

    refused = call(*command(tiny, out))
    assert refused.code == 2
    assert refused.error == (
        f"Error: {out} holds this run, unfinished. Add --resume to go on with it, or choose another --out"
    )
    resumed = call(*command(tiny, out, "--resume"))
    assert resumed.code == 0, resumed.stderr
    assert "going on from step " in resumed.stderr
    assert files(out) == files(uninterrupted)
    a, b = (json.loads((d / "run.json").read_text())["result"] for d in (out, uninterrupted))
    assert (a["metrics"], a["agreement"]) == (b["metrics"], b["agreement"])


@pytest.mark.parametrize("kills", [(10,), pytest.param((1, 10, 20), marks=pytest.mark.soak)])
def test_killed_again_and_again(tiny, tmp_path, uninterrupted, call, kills):
    out = tmp_path / "run"
    for lines in kills:
        process, _ = start_and_stop(tiny, out, signal.SIGKILL, lines, "--resume")
        assert process.returncode == -signal.SIGKILL and not (out / "run.json").exists()
    (out / ".tmpRWXLHQ").write_bytes(b"half")  # as safetensors leaves it when the kill falls into its writing
    assert call(*command(tiny, out, "--resume")).code == 0
    assert files(out) == files(uninterrupted)


def test_two_processes_train_the_same_student_as_one(tiny, tmp_path, call):
    """`accelerate launch`: each process takes its share of every batch, and the step is that of the whole batch.

    One example of five has a label.
    """
    base = ["train-student", "--cache", str(with_transfer(tiny.no_dropout, tmp_path / "cache", 1))]
    base += "--precision float32 --log-every 1 --max-steps 12 --eval-every 6 --grad-accumulation 2 --lr 1e-3".split()
    launch = [sys.executable, "-m", "accelerate.commands.launch"]
    # --cpu would start one process whatever --num_processes says; the launcher for GPUs starts two on the CPU as well
    launch += "--multi_gpu --num_processes 2 --num_machines 1 --mixed_precision no --dynamo_backend no".split()
    environment = os.environ | {"ACCELERATE_USE_CPU": "true"}
    two = subprocess.run(
        [*launch, CLI, *base, "--out", str(tmp_path / "two")], capture_output=True, text=True, env=environment
    )
    assert two.returncode == 0, two.stderr
    assert json.loads((tmp_path / "two" / "run.json").read_text())["environment"]["processes"] == 2
    json_lines = [line for line in two.stdout.splitlines() if line.startswith("{")]
    assert len(json_lines) == 1 and json.loads(json_lines[0])["command"] == "train-student"
    assert call(*base, "--out", tmp_path / "one").code == 0

    def log(out):
        lines = [json.loads(line) for line in (tmp_path / out / "log.jsonl").read_text().splitlines()]
        steps = [line for line in lines if line["kind"] == "train"]
        values = ([line[name] for line in steps] for name in ("loss", "ce", "grad_norm"))
        return *values, lines[-1]["metrics"]

    (losses, labels, norms, metrics), one = log("two"), log("one")
    assert len(losses) == 12 and losses == pytest.approx(one[0], rel=1e-4)
    assert labels == pytest.approx(one[1], rel=1e-4)
    assert norms == pytest.approx(one[2], rel=1e-2)  # AdamW would hide a gradient of another size
    assert metrics == one[3]
