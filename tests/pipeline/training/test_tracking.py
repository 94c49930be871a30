"""Runs sent to a tracker, read back from TensorBoard's event files and from MLflow's store."""

import json
import shutil
from pathlib import Path

import pytest

from pipeline.config.shared import TRACKERS as NAMES
from pipeline.config.training import FinetuneTeacherConfig, TrainStudentConfig
from pipeline.errors import BadTracker
from pipeline.training import tracking
from pipeline.training.run_reader import CHECKPOINT, read_log
from pipeline.training.student import advance
from pipeline.training.trackers.table import TRACKERS
from pipeline.training.trackers.tracked_run import RECORD, TrackedRun
from pipeline.training.tracking import scalars
from stages import finetune_teacher

SHORT = dict(student_layers=2, max_steps=9, log_every=1, eval_every=4, precision="float32", batch_size=16)


def events_of(run):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run), {"scalars": 0})
    events.Reload()
    return events


def shown_by_tensorboard(run):
    """Return {name: [(step, value)]} of a run."""
    events = events_of(run)
    return {name: [(e.step, e.value) for e in events.Scalars(name)] for name in events.Tags()["scalars"]}


def shown_by_mlflow(run_id):
    from mlflow.tracking import MlflowClient

    client = MlflowClient()
    names = client.get_run(run_id).data.metrics
    return {name: [(m.step, m.value) for m in client.get_metric_history(run_id, name)] for name in names}


def logged(run):
    """Return the same of log.jsonl."""
    expected: dict[str, list] = {}
    for line in read_log(run):
        for name, value in scalars(line).items():
            expected.setdefault(name, []).append((line["step"], pytest.approx(value, rel=1e-6)))
    return expected


def without_result(shown):
    return {name: values for name, values in shown.items() if not name.startswith("result/")}


def files_of(run):
    return {
        path.relative_to(run): path.read_bytes()
        for path in run.rglob("*")
        if path.is_file() and not path.name.startswith(("events.", "run.json")) and path.name != RECORD
    }


def killed_after_checkpoint(config, at, further):
    """Train to `further`, and put the checkpoint of `at` back: what a process leaves that was killed then."""
    run = Path(config.out)
    advance(config, at)
    checkpoint = shutil.copy(run / CHECKPOINT, run.parent / "checkpoint")
    advance(config, further)
    shutil.move(checkpoint, run / CHECKPOINT)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """An MLflow store with its tables."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/mlflow.db")
        import mlflow

        mlflow.set_tracking_uri(None)
        tracking.prepare_tracker("mlflow", "toy")
        yield


def test_tensorboard_has_every_line_of_the_log_and_the_run_is_the_same(tiny, tmp_path):
    options = SHORT | dict(cache=str(tiny.arrow), student_layers=3)
    plain = advance(TrainStudentConfig(out=str(tmp_path / "plain"), **options))
    tracked = advance(TrainStudentConfig(out=str(tmp_path / "run"), track="tensorboard", **options))
    shown = shown_by_tensorboard(tmp_path / "run")
    assert without_result(shown) == logged(tmp_path / "run")
    assert set(shown) >= {"train/loss", "train/lr", "train/pt", "train/pt_by_layer/1", "dev/accuracy"}
    assert shown["result/metrics/dev/accuracy"] == [(9, pytest.approx(tracked.metrics["dev"]["accuracy"]))]
    assert tracked.metrics == plain.metrics and files_of(tmp_path / "run") == files_of(tmp_path / "plain")
    for name in ("config", "inputs"):
        values = [json.loads((tmp_path / run / "run.json").read_text())[name] for run in ("plain", "run")]
        assert values[0] == values[1]
    tags = events_of(tmp_path / "run")
    assert set(tags.PluginTagToContent("hparams")) == {"_hparams_/session_start_info", "_hparams_/session_end_info"}
    assert "| temperature | 5.0 |" in tags.Tensors("config/text_summary")[0].tensor_proto.string_val[0].decode()


def test_killed_run_goes_on_in_tensorboard_without_repeating_or_losing_steps(tiny, tmp_path):
    options = dict(cache=str(tiny.arrow), out=str(tmp_path / "run"), track="tensorboard", resume=True)
    config = TrainStudentConfig(**options, **SHORT)
    killed_after_checkpoint(config, 5, 8)
    assert shown_by_tensorboard(tmp_path / "run")["train/loss"][-1][0] == 8
    advance(config)
    assert without_result(shown_by_tensorboard(tmp_path / "run")) == logged(tmp_path / "run")


def test_tracker_that_is_named_later_gets_what_was_logged_before(tiny, tmp_path):
    options = dict(cache=str(tiny.arrow), out=str(tmp_path / "run"), resume=True)
    advance(TrainStudentConfig(**options, **SHORT), 5)
    advance(TrainStudentConfig(track="tensorboard", **options, **SHORT))
    assert without_result(shown_by_tensorboard(tmp_path / "run")) == logged(tmp_path / "run")


def test_killed_run_goes_on_in_its_run_of_mlflow(tiny, tmp_path, store):
    from mlflow.tracking import MlflowClient

    options = dict(cache=str(tiny.arrow), out=str(tmp_path / "run"), track="mlflow", track_group="seeds", resume=True)
    config = TrainStudentConfig(**options, **SHORT)
    killed_after_checkpoint(config, 5, 8)
    run_id = json.loads((tmp_path / "run" / RECORD).read_text())["mlflow"]
    assert MlflowClient().get_run(run_id).info.status == "KILLED"
    advance(config)
    assert json.loads((tmp_path / "run" / RECORD).read_text()) == {"mlflow": run_id}
    recorded = MlflowClient().get_run(run_id)
    assert without_result(shown_by_mlflow(run_id)) == logged(tmp_path / "run")
    assert recorded.data.metrics["result/parameters"] > 0
    assert (recorded.info.status, recorded.info.run_name, recorded.data.tags["group"]) == ("FINISHED", "run", "seeds")
    assert recorded.data.params["method"] == "pkd-skip" and recorded.data.params["command"] == "train-student"
    assert MlflowClient().get_experiment(recorded.info.experiment_id).name == "toy"


def test_run_that_the_store_does_not_have_any_more_is_sent_anew(tiny, tmp_path, store):
    from mlflow.tracking import MlflowClient

    options = dict(cache=str(tiny.arrow), out=str(tmp_path / "run"), track="mlflow", resume=True)
    advance(TrainStudentConfig(**options, **SHORT), 5)
    run_id = json.loads((tmp_path / "run" / RECORD).read_text())["mlflow"]
    MlflowClient().delete_run(run_id)
    advance(TrainStudentConfig(**options, **SHORT))
    other = json.loads((tmp_path / "run" / RECORD).read_text())["mlflow"]
    assert other != run_id and without_result(shown_by_mlflow(other)) == logged(tmp_path / "run")


def test_teacher_is_tracked(tiny, tmp_path, store):
    out = tmp_path / "teacher"
    options = dict(model=str(tiny.encoder), out=str(out), max_steps=3, log_every=1, precision="float32")
    finetune_teacher.run(FinetuneTeacherConfig(**tiny.rows, **options, track="mlflow"))
    run_id = json.loads((out / RECORD).read_text())["mlflow"]
    assert without_result(shown_by_mlflow(run_id)) == logged(out)


def test_tracker_that_fails_does_not_end_the_training(tiny, tmp_path, monkeypatch, capsys):
    from accelerate.tracking import TensorBoardTracker

    log = TensorBoardTracker.log

    def full(self, values, step=None):
        if step > 3:
            raise OSError(28, "No space left on device")
        log(self, values, step=step)

    monkeypatch.setattr(TensorBoardTracker, "log", full)
    result = advance(TrainStudentConfig(cache=str(tiny.arrow), out=str(tmp_path / "run"), track="tensorboard", **SHORT))
    assert result.metrics and (tmp_path / "run" / "run.json").is_file()
    assert capsys.readouterr().err.count("--track tensorboard failed") == 1
    assert [step for step, _ in shown_by_tensorboard(tmp_path / "run")["train/loss"]] == [1, 2, 3]


def test_tracker_that_does_not_start_is_one_line_and_nothing_is_trained(tiny, call, in_directory, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nowhere://host")
    result = call("train-student", "--cache", tiny.arrow, "--out", "run", "--track", "mlflow", "--max-steps", 2)
    assert result.code == 2 and result.error.startswith("Error: --track mlflow did not start (")
    assert result.error.endswith("Check MLFLOW_TRACKING_URI, or leave --track out")
    assert {path.name for path in Path("run").iterdir()} == {"started.json"}
    again = call("train-student", "--cache", tiny.arrow, "--out", "run", "--max-steps", 2, "--precision", "float32")
    assert again.code == 0, again.stderr


@pytest.mark.parametrize("tracker", ["wandb", "trackio"])
def test_tracker_whose_package_is_missing_is_named_with_its_pip_line(tiny, call, in_directory, tracker):
    line = f"Error: --track {tracker} needs the package {tracker}: pip install {tracker}"
    words = ["--cache", tiny.arrow, "--track", tracker]
    assert call("train-student", *words).error == line
    assert call("sweep", *words).error == line
    teacher = call("finetune-teacher", "--task", "rte", "--model", "demo", "--track", tracker)
    assert teacher.code == 2 and teacher.error == line
    assert list(in_directory.iterdir()) == []


def test_diverged_run_has_failed_at_the_tracker(tiny, tmp_path, store, monkeypatch):
    from mlflow.tracking import MlflowClient

    from pipeline.errors import TrainingDiverged

    options = SHORT | dict(lr=1e30, warmup=0.0)
    with pytest.raises(TrainingDiverged):
        advance(TrainStudentConfig(cache=str(tiny.arrow), out=str(tmp_path / "run"), track="mlflow", **options))
    run_id = json.loads((tmp_path / "run" / RECORD).read_text())["mlflow"]
    assert MlflowClient().get_run(run_id).info.status == "FAILED"


def test_other_run_in_a_directory_without_results_is_another_run_at_the_tracker(tiny, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "started.json").write_text("{}")  # of a run that ended before its first step
    for name in (RECORD, "events.out.tfevents.1.host.1.0"):
        (tmp_path / "run" / name).write_text('{"mlflow": "abc"}')
    options = SHORT | dict(max_steps=2)
    advance(TrainStudentConfig(cache=str(tiny.arrow), out=str(tmp_path / "run"), **options))
    assert not (tmp_path / "run" / RECORD).exists() and not list((tmp_path / "run").glob("events*"))


def test_every_name_of_the_option_is_in_the_table():
    assert tuple(TRACKERS) == NAMES


@pytest.mark.parametrize("tracker", ["tensorboard", "mlflow"])
def test_each_trial_of_a_sweep_is_a_run_of_its_own(tiny, call, in_directory, store, tracker):
    from mlflow.tracking import MlflowClient

    space = "student_layers = 2\nmax_steps = 9\nlog_every = 1\nprecision = 'float32'\nlr = [1e-4, 2e-4, 3e-4, 4e-4]\n"
    Path("space.toml").write_text(space)
    words = ["--cache", tiny.arrow, "--space", "space.toml", "--out", "sweeps/mine"]
    result = call("sweep", *words, "--strategy", "halving", "--pack", 2, "--track", tracker)
    assert result.code == 0, result.stderr
    runs = [path for path in Path("runs/toy").iterdir() if path.is_dir()]
    assert len(runs) == 4 and result.json["pruned"] > 0
    for run in runs:
        if tracker == "tensorboard":
            assert without_result(shown_by_tensorboard(run)) == logged(run)
            continue
        run_id = json.loads((run / RECORD).read_text())["mlflow"]
        recorded = MlflowClient().get_run(run_id)
        assert without_result(shown_by_mlflow(run_id)) == logged(run)
        assert recorded.data.tags["group"] == "mine" and recorded.info.run_name == run.name
        assert recorded.info.status == ("FINISHED" if (run / "run.json").is_file() else "KILLED")
    assert "--track" not in Path(result.json["out"], "optuna.journal").read_text()


def test_names_have_the_letters_that_every_tracker_takes():
    line = {"kind": "eval", "step": 1, "split": "dev", "metrics": {'f1:it\'s "x"/..': 0.5, "..": 1, "ok": True}}
    assert scalars(line) == {"dev/f1:it_s _x__..": 0.5, "dev/__": 1.0}
    assert scalars({"kind": "unknown", "step": 1}) == {}


@pytest.mark.parametrize("text", ["", "[]", '{"mlflow": 5}', '{"mlflow": "../../x"}', "\x00"])
def test_damaged_record_of_a_tracker_counts_as_none(tmp_path, text):
    (tmp_path / RECORD).write_text(text)
    run = TrackedRun(tmp_path, "toy", {})
    assert run.recorded_id("mlflow") is None
    run.record_id("mlflow", "abc")
    assert run.recorded_id("mlflow") == "abc"


def test_prepared_tracker_that_does_not_answer_is_one_line(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nowhere://user:secret@host")
    with pytest.raises(BadTracker, match=r"^--track mlflow did not start") as error:
        tracking.prepare_tracker("mlflow", "toy")
    assert "nowhere://host" in str(error.value) and "secret" not in str(error.value)
