"""Students of caches with examples that do not have a label."""

import json
import shutil

import numpy as np
import pytest

from pipeline.cache.open import open_cache
from pipeline.config.training import TrainStudentConfig
from pipeline.errors import BadCache, BadOption
from pipeline.training.run_reader import read_predictions
from pipeline.training.student import advance_pack
from stages import train_student
from tests.helpers.rewriting import flip_byte
from tests.helpers.transfer import with_transfer

SHORT = dict(epochs=1.0, batch_size=16, precision="float32", log_every=1, lr=1e-3, eval_every=100)
TEACHER_ALONE = dict(alpha=1.0, student_layers=2)


def train(cache, out, **options):
    return train_student.run(TrainStudentConfig(cache=str(cache), out=str(out), **(SHORT | options)))


def losses(out):
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == "train"]


@pytest.fixture(scope="module")
def mixed(tiny, tmp_path_factory):
    """300 training rows: 128 with labels, 172 of the transfer split."""
    return with_transfer(tiny.no_dropout, tmp_path_factory.mktemp("transfer") / "mixed", 2)


def test_without_the_label_term_it_is_the_training_on_the_labelled_cache(tiny, mixed, tmp_path):
    """The examples, their order and the teacher's targets are the same: train and transfer are one list."""
    whole = train(tiny.no_dropout, tmp_path / "whole", **TEACHER_ALONE)
    joined = train(mixed, tmp_path / "joined", **TEACHER_ALONE)
    assert (whole.labelled_examples, whole.unlabelled_examples) == (300, 0)
    assert (joined.labelled_examples, joined.unlabelled_examples) == (128, 172)
    ours, theirs = read_predictions(tmp_path / "joined")["dev"], read_predictions(tmp_path / "whole")["dev"]
    np.testing.assert_array_equal(ours, theirs)
    assert [line["kd"] for line in losses(tmp_path / "joined")] == [line["kd"] for line in losses(tmp_path / "whole")]
    record = json.loads((tmp_path / "joined" / "run.json").read_text())
    assert record["result"]["labelled_examples"] == 128 and "max_transfer_examples" not in record["config"]


def test_ft_is_the_training_on_the_labelled_rows_alone(tiny, mixed, tmp_path):
    alone = with_transfer(tiny.no_dropout, tmp_path / "alone", 2, splits=("train", "dev"))
    results = [train(cache, tmp_path / name, method="ft") for name, cache in {"a": alone, "b": mixed}.items()]
    assert results[0].metrics == results[1].metrics
    assert [(r.labelled_examples, r.unlabelled_examples) for r in results] == [(128, 0)] * 2
    logs = [[line["loss"] for line in losses(tmp_path / name)] for name in "ab"]
    assert len(logs[0]) == 8 and logs[0] == logs[1]


def test_ft_does_not_read_the_transfer_split(mixed, tmp_path):
    cache = shutil.copytree(mixed, tmp_path / "cache")
    flip_byte(cache / "transfer" / "00000.arrow", 20_000)
    train(cache, tmp_path / "run", method="ft")
    with pytest.raises(BadCache, match="transfer/00000"):
        train(cache, tmp_path / "pseudo", method="pseudo")


def test_accumulated_batches_and_packs_average_over_the_labels_of_a_step(mixed, tmp_path):
    """One step of 19 batches of 16, or of one batch of 300; alone, or beside others."""
    one = dict(method="kd", epochs=2.0, batch_size=300)
    train(mixed, tmp_path / "one", **one)
    train(mixed, tmp_path / "many", **one | dict(batch_size=16, grad_accumulation=19))
    steps = [losses(tmp_path / name) for name in ("one", "many")]
    assert len(steps[0]) == 2
    for name in ("loss", "ce", "kd", "grad_norm"):
        assert [s[name] for s in steps[0]] == pytest.approx([s[name] for s in steps[1]], rel=1e-3)
    methods = {"kd": {}, "pseudo": {}, "pkd-skip": {"student_layers": 2}}
    common = SHORT | {"cache": str(mixed), "student_layers": 2}
    for name in methods:
        train(mixed, tmp_path / f"{name}-alone", method=name, student_layers=2)
    packed = [TrainStudentConfig(**common, method=name, out=str(tmp_path / name)) for name in methods]
    results = advance_pack(packed)
    assert [(r.labelled_examples, r.unlabelled_examples) for r in results] == [(128, 172)] * 3
    for name in methods:
        ours, alone = (read_predictions(tmp_path / out)["dev"] for out in (name, f"{name}-alone"))
        np.testing.assert_allclose(ours, alone, atol=1e-5)


def test_ft_and_kd_read_other_batches_and_are_not_packed(mixed, tmp_path):
    configs = [
        TrainStudentConfig(**SHORT, cache=str(mixed), method=name, out=str(tmp_path / name)) for name in ("ft", "kd")
    ]
    with pytest.raises(BadOption, match=r"these have examples 128 and 300\. Train them apart$"):
        advance_pack(configs)
    assert not list(tmp_path.iterdir())


def test_limits_of_train_and_transfer_are_drawn_apart(mixed, tmp_path):
    seen = [
        train(mixed, tmp_path / str(seed), method="kd", max_transfer_examples=20, max_train_examples=30, data_seed=seed)
        for seed in (0, 1)
    ]
    assert [(r.labelled_examples, r.unlabelled_examples) for r in seen] == [(30, 20)] * 2
    config = json.loads((tmp_path / "0" / "run.json").read_text())["config"]
    assert config["max_transfer_examples"] == 20 and losses(tmp_path / "0") != losses(tmp_path / "1")


def test_training_without_any_label(tiny, tmp_path):
    cache = with_transfer(tiny.no_dropout, tmp_path / "cache", 0)
    assert [*open_cache(cache).splits] == ["transfer", "dev", "test"]
    result = train(cache, tmp_path / "run", **TEACHER_ALONE)
    assert (result.labelled_examples, result.unlabelled_examples) == (0, 300)
    assert {line["ce"] for line in losses(tmp_path / "run")} == {0.0}
    assert train(cache, tmp_path / "pseudo", method="pseudo").unlabelled_examples == 300
    fact = f"none of the examples to train on in {cache} has a label, and"
    for options, rest in (
        ({"method": "ft"}, "--method ft learns from nothing else. To learn from the teacher alone, use --method kd"),
        ({"alpha": 0.25}, "--alpha 0.25 leaves them 0.75 of the loss. To learn from the teacher alone, use"),
    ):
        with pytest.raises(BadOption) as error:
            train(cache, tmp_path / "refused", **options)
        assert str(error.value) == f"{fact} {rest} --alpha 1"
    assert not (tmp_path / "refused").exists()


def test_sweep_trains_on_both(call, mixed, in_directory):
    (in_directory / "space.toml").write_text(
        'method = ["ft", "kd"]\nprecision = "float32"\nmax_steps = 4\nmax_transfer_examples = [0, 40]\n'
        "select = 'last'\nbatch_size = 16\n"
    )
    words = ["--cache", mixed, "--space", "space.toml", "--strategy", "grid", "--out", "sweep", "--pack", 2]
    done = call("sweep", *words)
    assert done.code == 0 and done.json["finished"] == done.json["trials"] == 3, done.stderr  # FT is one
    assert "max_transfer_examples" in call("sweep", "compare", "sweep").stdout
