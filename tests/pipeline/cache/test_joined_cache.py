"""Caches of one teacher as one."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from pipeline.cache.open import open_cache, open_caches
from pipeline.config.evaluation import EvaluateConfig
from pipeline.config.training import CacheTeacherConfig, TrainStudentConfig
from pipeline.errors import BadCache, BadOption
from pipeline.training.run_reader import read_predictions
from pipeline.training.student import advance_pack
from stages import cache_teacher, evaluate, train_student
from tests.helpers.imported import write_imported_cache
from tests.helpers.repeated import repeated
from tests.helpers.rewriting import flip_byte, rewritten
from tests.helpers.transfer import with_transfer

SHORT = dict(epochs=1.0, batch_size=16, precision="float32", log_every=1, lr=1e-3, eval_every=100, method="kd")


def train(caches, out, **options):
    return train_student.run(TrainStudentConfig(cache=tuple(map(str, caches)), out=str(out), **(SHORT | options)))


@pytest.fixture(scope="module")
def halves(tiny, tmp_path_factory):
    """Labelled rows with dev rows, and other rows without labels and without dev rows."""
    root = tmp_path_factory.mktemp("halves")
    return (
        with_transfer(tiny.no_dropout, root / "labelled", 2, splits=("train", "dev", "test")),
        with_transfer(tiny.no_dropout, root / "texts", 2, splits=("transfer",)),
    )


def test_joined_caches_train_the_student_of_the_whole_cache(tiny, halves, tmp_path):
    """Rows of both, in an order that does not depend on how they are named."""
    whole = with_transfer(tiny.no_dropout, tmp_path / "whole", 2)
    result = train_student.run(TrainStudentConfig(cache=str(whole), out=str(tmp_path / "one"), **SHORT))
    joined = train(halves, tmp_path / "two")
    assert (joined.labelled_examples, joined.unlabelled_examples) == (128, 172)
    assert joined.metrics == result.metrics and joined.cache_identity != result.cache_identity
    predictions = [read_predictions(tmp_path / name)["dev"] for name in ("one", "two")]
    np.testing.assert_array_equal(*predictions)
    record = json.loads((tmp_path / "two" / "run.json").read_text())
    assert record["cache"] == [str(cache) for cache in halves]
    assert record["inputs"]["cache"] == joined.cache_identity
    again = train(halves[::-1], tmp_path / "two")  # the same run
    assert again == joined
    measured = evaluate.run(EvaluateConfig(run=str(tmp_path / "two"), precision="float32"))
    assert repeated(measured.metrics, joined.metrics) == joined.metrics and measured.agreement == joined.agreement
    with pytest.raises(BadCache, match="is not the cache of this run"):
        evaluate.run(EvaluateConfig(run=str(tmp_path / "two"), cache=str(halves[0])))


def test_identity_is_expected(halves, tmp_path):
    cache = open_caches([str(half) for half in halves])
    train(halves, tmp_path / "run", max_steps=1, expect_identity=cache.identity[:12])
    with pytest.raises(BadCache, match=r"labelled and .*texts together have the identity"):
        train(halves, tmp_path / "other", expect_identity=open_cache(halves[0]).identity)


def test_caches_that_do_not_join_are_refused(tiny, halves, tmp_path):
    with pytest.raises(BadOption) as error:
        open_caches([str(halves[0]), str(shutil.copytree(halves[0], tmp_path / "copy"))])
    assert "are the same cache (identity " in str(error.value)
    with pytest.raises(BadCache) as refused:
        train((halves[0], tiny.float16), tmp_path / "run")
    assert str(refused.value).startswith(f"{halves[0]} and {tiny.float16} do not join (dtype: float32 ≠ float16; teach")
    metrics = replace(open_cache(halves[1]).manifest.task, metrics=("f1",))
    other = rewritten(halves[1], tmp_path / "metrics", lambda *_: None, task=metrics)
    with pytest.raises(BadCache, match=r"do not join \(task\.metric: accuracy ≠ f1\)"):
        train((halves[0], other), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_other_names_of_task_and_columns_or_no_texts_do_not_matter(tiny, halves, tmp_path):
    names = replace(open_cache(halves[1]).manifest.task, name="reviews", text_columns=("sentence",))
    renamed = rewritten(halves[1], tmp_path / "names", lambda *_: None, task=names)
    assert train((halves[0], renamed), tmp_path / "run", max_steps=1).unlabelled_examples == 172
    silent = tmp_path / "no-text"
    cache_teacher.run(
        CacheTeacherConfig(
            **tiny.rows | {"train_file": tiny.rows["test_file"], "test_file": None},
            teacher=str(tiny.root / "without-dropout"),
            dtype="float32",
            precision="float32",
            no_text=True,
            cache=str(silent),
        )
    )
    assert train((halves[0], silent), tmp_path / "both", max_steps=1).labelled_examples == 168


def test_imported_targets_of_one_teacher_join(tiny, tmp_path):
    whole = write_imported_cache(tiny.no_dropout, tmp_path / "whole")
    other = shutil.copytree(whole, tmp_path / "other")
    manifest = open_cache(whole).manifest
    replace(manifest, fields=replace(manifest.fields, target_values="1" * 64)).write(other)
    assert len(open_caches([str(whole), str(other)]).splits["train"]) == 600


def test_damage_in_the_second_cache_is_found(halves, tmp_path):
    other = shutil.copytree(halves[1], tmp_path / "texts")
    flip_byte(other / "transfer" / "00000.arrow", 20_000)
    with pytest.raises(BadCache, match="texts/transfer/00000"):
        train((halves[0], other), tmp_path / "run")
    assert not (tmp_path / "run" / "run.json").exists()


def test_rows_in_both_and_other_dev_rows_are_named(tiny, halves, tmp_path, capsys):
    train((halves[0], tiny.no_dropout), tmp_path / "run", max_steps=1)
    lines = capsys.readouterr().err.splitlines()
    assert f"128 training examples of {tiny.no_dropout} are in {halves[0]} too" in lines
    assert f"students are evaluated on the dev rows of {halves[0]}, not on those of {tiny.no_dropout}" in lines
    other = train((tiny.no_dropout, halves[0]), tmp_path / "other", max_steps=1)
    assert other.cache_identity == json.loads((tmp_path / "run" / "run.json").read_text())["result"]["cache_identity"]


def test_training_rows_that_are_dev_rows_of_the_other_are_named(tiny, halves, tmp_path):
    dev = open_cache(tiny.no_dropout).splits["dev"].shards[0]

    def as_dev_row(split, index, columns):
        if not index:
            columns["input_ids"].values[: dev["input_ids"].offsets[1]] = 0
            columns["row_hash"][0] = dev["row_hash"][0]

    cache = rewritten(halves[1], tmp_path / "leak", as_dev_row)
    (line,) = open_caches([str(halves[0]), str(cache)]).remarks
    assert line.startswith(f"1 training examples of {cache} are in dev of {halves[0]}: ")


def test_packs_and_sweeps_of_joined_caches(halves, call, in_directory):
    names = tuple(map(str, halves))
    configs = [TrainStudentConfig(cache=names, out=f"runs/{seed}", seed=seed, **SHORT) for seed in (0, 1)]
    assert [result.unlabelled_examples for result in advance_pack(configs)] == [172, 172]
    (in_directory / "space.toml").write_text(
        f'method = "kd"\nprecision = "float32"\nmax_steps = 3\ncache = [{list(names)}, "{names[0]}"]\n'
    )
    for strategy, more in (("grid", ()), ("bayes", ("--trials", 2, "--seed", 1))):
        done = call("sweep", "--space", "space.toml", "--strategy", strategy, "--out", strategy, *more)
        assert done.code == 0, done.stderr
        assert done.json["finished"] == 2 or strategy == "bayes"
    assert " + " in call("sweep", "compare", "grid").stdout
    words = [word for name in names for word in ("--cache", name)]
    (in_directory / "one.toml").write_text('method = "kd"\nprecision = "float32"\nmax_steps = 3\nlr = [1e-3, 2e-3]\n')
    done = call("sweep", *words, "--space", "one.toml", "--strategy", "grid")
    assert done.code == 0 and done.json["out"].startswith("sweeps/labelled-texts-grid-"), done.stderr
    regret = call("sweep", "regret", done.json["out"], "--resamples", 3)
    assert regret.code == 0, regret.stderr
