"""Students with a tokenizer of their own: from the texts of a cache to a run, and what stands in the way."""

import errno
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import transformers
from safetensors.torch import load_file

from pipeline.cache.format.containers import Container
from pipeline.cache.open import open_cache
from pipeline.config.evaluation import EvaluateConfig
from pipeline.config.training import CacheTeacherConfig, TrainStudentConfig
from pipeline.data.kinds.multiple_choice import choice_names
from pipeline.data.task_kinds import MULTIPLE_CHOICE
from pipeline.data.tasks import head_of
from pipeline.distillation.own_tokens import with_tokens_for
from pipeline.errors import BadCache, BadOption, BadRows
from pipeline.models.checkpoints import load_classifier
from pipeline.training.student import advance, advance_pack
from stages import cache_teacher, evaluate, train_student
from tests.helpers.encoders import save_pretrained_encoder, tokenizer
from tests.helpers.imported import write_imported_cache
from tests.helpers.own_tokenizer import own_tokenizer, save_foreign_encoder
from tests.helpers.questions import SEQUENCES, write_questions
from tests.helpers.repeated import repeated
from tests.helpers.rows import WORDS, write_rows
from tests.helpers.sweeps import run_sweep

SHORT = dict(max_steps=6, eval_every=3, precision="float32", lr=1e-3, student_layers=3)


@pytest.fixture(scope="module")
def foreign(tmp_path_factory):
    return save_foreign_encoder(tmp_path_factory.mktemp("foreign") / "encoder")


@pytest.fixture
def store(tmp_path, monkeypatch):
    """An empty store of this user."""
    monkeypatch.setenv("PKD_STORE", str(tmp_path / "store"))
    return tmp_path / "store"


def config(tiny, foreign, out, **options):
    return TrainStudentConfig(cache=str(tiny.arrow), init=str(foreign), out=str(out), **(SHORT | options))


def test_student_with_another_tokenizer_from_texts_to_an_evaluated_run(tiny, foreign, store, tmp_path):
    result = train_student.run(config(tiny, foreign, tmp_path / "run"))
    assert (result.student_tokenizer, result.projected, result.method) == ("own", False, "pkd-skip")
    assert len(list(store.glob("tokens/*/index.json"))) == 2  # of train and dev: the rest is not read
    measured = evaluate.run(EvaluateConfig(run=str(tmp_path / "run"), precision="float32"))
    assert repeated(measured.metrics, result.metrics) == result.metrics and measured.agreement == result.agreement
    [label] = transformers.pipeline("text-classification", str(tmp_path / "run" / "model"))("a good film")
    assert label["label"] in ("neg", "pos")
    saved = transformers.AutoTokenizer.from_pretrained(tmp_path / "run" / "model")
    assert saved.get_vocab() == own_tokenizer().get_vocab()


def test_tokens_are_joined_with_the_targets_by_id_and_text(tiny, foreign, store):
    cache = open_cache(tiny.arrow)
    own = with_tokens_for(TrainStudentConfig(cache=str(tiny.arrow), init=str(foreign)), cache)
    rows = Path(tiny.rows["train_file"]).read_text().splitlines()[1:]
    split, original = own.splits["train"], cache.splits["train"]
    ids = np.array([250, 3, 64])
    tokens = split.rows(ids).ragged("input_ids")
    for place, row in enumerate(ids):
        text = rows[row].rpartition(",")[0].strip('"')
        assert tokens[place].tolist() == own_tokenizer()(text)["input_ids"]
    assert np.array_equal(split.gather("logits", ids), original.gather("logits", ids))
    assert np.array_equal(split.gather("cls_02", ids), original.gather("cls_02", ids))
    assert not split.has_token_types and original.has_token_types and own.tokens.pad_id == 29


def test_packed_and_resumed_students_are_those_trained_alone(tiny, foreign, store, tmp_path):
    wide = save_foreign_encoder(
        tmp_path / "wide", hidden_size=48, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0
    )
    configs = [config(tiny, wide, tmp_path / f"pack-{seed}", seed=seed, project=True, resume=True) for seed in (1, 2)]
    advance_pack(configs, until=4)
    packed = advance_pack(configs)
    for one, made in zip(configs, packed, strict=True):
        alone = advance(replace(one, out=f"{one.out}-alone"))
        assert made.projected and made.student_tokenizer == alone.student_tokenizer == "own"
        a, b = (load_file(f"{result.out}/model/model.safetensors") for result in (made, alone))
        assert max(float((a[name] - b[name]).abs().max()) for name in a if not name.endswith(".key.bias")) < 1e-5


def test_damaged_and_missing_tokens_are_made_again(tiny, foreign, store, tmp_path):
    first = train_student.run(config(tiny, foreign, tmp_path / "a", method="kd"))
    entries = sorted(store.glob("tokens/*"))
    data = bytearray((entries[0] / "00000.arrow").read_bytes())
    data[len(data) // 2] ^= 1
    (entries[0] / "00000.arrow").write_bytes(data)
    shutil.rmtree(entries[1])
    second = train_student.run(config(tiny, foreign, tmp_path / "b", method="kd"))
    assert first.metrics == second.metrics and sorted(store.glob("tokens/*")) == entries


def test_store_that_is_too_small_or_a_file(tiny, foreign, store, tmp_path):
    with pytest.raises(
        BadOption, match=r"^the tokens of this student take [\d,]+ bytes, and --store-bytes is 1,000\. Raise"
    ):
        train_student.run(config(tiny, foreign, tmp_path / "run", store_bytes=1000))
    assert not list(store.glob("tokens/*")) and not (tmp_path / "run").exists()
    (tmp_path / "file").touch()
    with pytest.raises(BadOption, match=r"file is a file\. Name a directory with --store or PKD_STORE"):
        train_student.run(config(tiny, foreign, tmp_path / "run", store=str(tmp_path / "file")))


def test_store_on_a_full_disk(tiny, foreign, store, tmp_path, monkeypatch):
    def full(self, path, columns):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(Container, "write", full)
    with pytest.raises(BadOption) as error:
        train_student.run(config(tiny, foreign, tmp_path / "run"))
    assert str(error.value) == (
        f"the store {store} cannot keep the tokens of this student (No space left on device). Make room there, or name "
        "another directory with --store"
    )
    assert not list(store.glob("tokens/*"))


def test_texts_of_which_the_tokenizer_makes_nothing(tiny, store, tmp_path):
    encoder = save_foreign_encoder(tmp_path / "narrow", words=WORDS[:1])
    with pytest.raises(BadRows) as error:
        train_student.run(config(tiny, encoder, tmp_path / "run"))
    assert str(error.value).startswith(
        f"{tiny.arrow}, split train: the tokenizer of the student makes nothing of the text"
    )
    assert "alone. Start from another checkpoint with --init, or remove these rows" in str(error.value)
    assert not (tmp_path / "run").exists() and not list(store.glob("tokens/*"))


def test_cache_without_texts(tiny, foreign, tmp_path):
    rows = {name: value for name, value in tiny.rows.items() if name != "test_file"}
    options = dict(teacher=str(tiny.teacher), cache=str(tmp_path / "cache"), no_text=True, precision="float32")
    cache_teacher.run(CacheTeacherConfig(**rows, **options))
    with pytest.raises(BadCache) as error:
        train_student.run(replace(config(tiny, foreign, tmp_path / "run"), cache=str(tmp_path / "cache")))
    assert str(error.value) == (
        f"{tmp_path / 'cache'} does not keep the texts, which a student with another tokenizer than the teacher's "
        "reads. Start from a checkpoint with the teacher's tokenizer, or make a cache with texts: python cli.py "
        "cache-teacher --cache DIR"
    )


def test_texts_are_cut_at_what_the_student_takes(tiny, store, tmp_path, capsys):
    short = save_foreign_encoder(tmp_path / "short", max_position_embeddings=8)
    train_student.run(config(tiny, short, tmp_path / "run", method="kd"))
    assert f"--init {short} takes 8 tokens at most: texts are cut there, and not at 128" in capsys.readouterr().err
    assert json.loads((tmp_path / "run" / "run.json").read_text())["max_length"] == 8


def test_sweep_makes_the_tokens_once_for_all_trials(tiny, foreign, store, in_directory, call):
    space = (
        f'init = "{foreign}"\nmethod = "kd"\nprecision = "float32"\nmax_steps = 2\nstudent_layers = 2\nseed = [1, 2]\n'
    )
    result = run_sweep(call, tiny, "grid", "sweep", space=space)
    assert result["finished"] == 2 and len(list(store.glob("tokens/*"))) == 2
    assert run_sweep(call, tiny, "grid", "sweep", space=space)["reused"] == 2


def test_joined_caches_have_the_tokens_of_the_student(tiny, foreign, store, tmp_path):
    rows = {**tiny.rows, "train_file": str(write_rows(tmp_path / "more.csv", 40, 9))}
    options = dict(teacher=str(tiny.teacher), cache=str(tmp_path / "more"), dtype="float32", precision="float32")
    cache_teacher.run(CacheTeacherConfig(**rows, **options))
    both = replace(config(tiny, foreign, tmp_path / "run"), cache=(str(tiny.arrow), str(tmp_path / "more")))
    result = train_student.run(both)
    assert result.student_tokenizer == "own" and result.labelled_examples == 340
    measured = evaluate.run(EvaluateConfig(run=str(tmp_path / "run"), precision="float32"))
    assert repeated(measured.metrics, result.metrics) == result.metrics


def test_questions_with_choices(store, tmp_path):
    encoder = save_pretrained_encoder(tmp_path / "encoder")
    names = choice_names(SEQUENCES)
    teacher = load_classifier(str(encoder), head=head_of(MULTIPLE_CHOICE, names))
    teacher.save_pretrained(tmp_path / "teacher")
    tokenizer().save_pretrained(tmp_path / "teacher")
    rows = dict(
        task="quiz",
        train_file=str(write_questions(tmp_path / "train.jsonl", 30, 1)),
        dev_file=str(write_questions(tmp_path / "dev.jsonl", 20, 2)),
        text_columns="text,question",
        choices_columns="options",
        label_column="answer",
        max_length=32,
    )
    options = dict(teacher=str(tmp_path / "teacher"), cache=str(tmp_path / "cache"), allow_weak_teacher=True)
    cache_teacher.run(CacheTeacherConfig(**rows, **options, precision="float32"))
    student = save_foreign_encoder(tmp_path / "student")
    start = TrainStudentConfig(cache=str(tmp_path / "cache"), init=str(student), out=str(tmp_path / "run"), **SHORT)
    result = train_student.run(start)
    assert result.student_tokenizer == "own"
    own = with_tokens_for(start, open_cache(tmp_path / "cache")).splits["train"]
    first = json.loads((tmp_path / "train.jsonl").read_text().splitlines()[0])
    expected = [
        own_tokenizer()(first["text"], f"{first['question']} {choice}", truncation="only_first", max_length=32)
        for choice in first["options"]
    ]
    tokens = own.rows(np.array([0])).ragged("input_ids")[0].tolist()
    assert tokens == [token for row in expected for token in row["input_ids"]]
    measured = evaluate.run(EvaluateConfig(run=result.out, precision="float32"))
    assert repeated(measured.metrics, result.metrics) == result.metrics


def test_targets_that_were_made_elsewhere(tiny, foreign, store, tmp_path):
    cache = write_imported_cache(tiny.arrow, tmp_path / "imported")
    start = replace(config(tiny, foreign, tmp_path / "run", student_layers=None), cache=str(cache))
    result = train_student.run(replace(start, method="kd"))
    assert (result.student_tokenizer, result.student_layers) == ("own", 4)  # all layers of the checkpoint
    measured = evaluate.run(EvaluateConfig(run=result.out, precision="float32"))
    assert repeated(measured.metrics, result.metrics) == result.metrics
    same = train_student.run(config(tiny, foreign, tmp_path / "same", student_layers=4, method="kd"))
    assert same.metrics == result.metrics
    for options, text in {
        (
            "init",
            "teacher",
        ): "the targets of this cache were made elsewhere: it has no teacher to start from. Use --init "
        "MODEL --method kd",
        (
            "method",
            "pkd-skip",
        ): "the targets of this cache were made elsewhere: it has no layers for pkd-skip to match. Use --method kd",
    }.items():
        with pytest.raises(BadOption) as error:
            train_student.run(replace(start, out=str(tmp_path / "no"), **dict([options])))
        assert str(error.value) == text
