"""Questions with three choices, from rows to a student that transformers loads."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import transformers
from safetensors.numpy import load_file

from pipeline.cache.open import open_cache
from pipeline.cache.teacher_files import load_student
from pipeline.config.rows import RowsConfig
from pipeline.config.training import CacheTeacherConfig, FinetuneTeacherConfig, TrainStudentConfig
from pipeline.data.batching import by_length, collate
from pipeline.data.rows.choices import choice_inputs
from pipeline.data.rows.sources import load_rows
from pipeline.data.task_kinds import SINGLE_LABEL
from pipeline.data.texts import decode_texts
from pipeline.data.tokenize import tokenize
from pipeline.distillation.recipe import resolve_recipe
from pipeline.distillation.targets import CachedTargets, LiveTargets
from pipeline.models.accelerator import make_accelerator, prepare_for_cls
from pipeline.models.checkpoints import Head, build_classifier, load_classifier, load_tokenizer, locate
from pipeline.models.encoders import cls_vectors
from pipeline.training.learner import EncoderLearner, Part, seed_everything
from pipeline.training.pack import PackLearner
from pipeline.training.student import StudentResult, advance
from pipeline.training.training_state import PausedTraining
from stages import cache_teacher, finetune_teacher, train_student
from tests.helpers.encoders import MODELS, save_pretrained_encoder
from tests.helpers.questions import SEQUENCES, write_questions
from tests.helpers.repeated import repeated
from tests.helpers.rows import write_rows

pytestmark = pytest.mark.trains
HIDDEN = 32


@pytest.fixture(scope="module")
def quiz(tmp_path_factory) -> SimpleNamespace:
    """Rows, a teacher, and its caches in both containers: shards of 32 rows."""
    root = tmp_path_factory.mktemp("quiz")
    rows = {
        "task": "quiz",
        "train_file": str(write_questions(root / "train.jsonl", 80, 1)),
        "dev_file": str(write_questions(root / "dev.jsonl", 30, 2)),
        "test_file": str(write_questions(root / "test.jsonl", 5, 3, answers=False)),
        "text_columns": "text,question",
        "choices_columns": "options",
        "label_column": "answer",
        "max_length": 32,
    }
    sizes = dict(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, initializer_range=0.2)
    encoder = save_pretrained_encoder(root / "encoder", **sizes)
    trained = finetune_teacher.run(
        FinetuneTeacherConfig(**rows, model=str(encoder), out=str(root / "teacher"), epochs=1, precision="float32")
    )
    made = SimpleNamespace(rows=rows, encoder=encoder, teacher=root / "teacher", metrics=trained.metrics)
    for name in ("arrow", "hdf5"):
        cache_teacher.run(
            CacheTeacherConfig(
                **rows,
                teacher=str(made.teacher),
                cache=str(root / name),
                format=name,
                dtype="float32",
                precision="float32",
                shard_rows=32,
                allow_weak_teacher=True,
            )
        )
        setattr(made, name, root / name)
    return made


def student(quiz, out, **options) -> TrainStudentConfig:
    defaults = {"student_layers": 2, "precision": "float32", "batch_size": 8, "epochs": 1.0}
    return TrainStudentConfig(cache=str(quiz.arrow), out=str(out), **defaults | options)


def test_items_of_a_dataset_hold_every_sequence(quiz):
    cache = open_cache(quiz.arrow)
    dataset, split = cache.dataset("train", ("logits", "cls_02")), cache.splits["train"]
    items = dataset.__getitems__([3, 70])
    batch, expected = dataset.collate(items), collate(split, np.array([3, 70]), 0)
    assert all(torch.equal(batch[name], tensor) for name, tensor in expected.inputs.items())
    lengths = split.gather("sequence_lengths", np.array([3, 70]))
    for item, length in zip(items, lengths, strict=True):
        assert item["input_ids"].shape == (SEQUENCES, length.max()) and item["cls_02"].shape == (SEQUENCES, HIDDEN)
        assert item["attention_mask"].sum(1).tolist() == length.tolist()
    assert batch["cls_02"].shape == (2, SEQUENCES, HIDDEN) and batch["logits"].shape == (2, SEQUENCES)


def test_columns_of_a_cache_hold_every_sequence(quiz):
    cache = open_cache(quiz.arrow)
    fields, shard = cache.manifest.fields, cache.splits["train"].shards[0]
    assert (fields.sequences, fields.kind, fields.labels) == (SEQUENCES, "multiple-choice", ("A", "B", "C"))
    assert shard["sequence_lengths"].shape == (32, SEQUENCES) and shard["logits"].shape == (32, SEQUENCES)
    assert shard["cls_01"].shape == (32, SEQUENCES * HIDDEN)
    tokens, lengths = shard["input_ids"], shard["sequence_lengths"]
    assert tokens.offsets[-1] == lengths.sum() and lengths.max() <= 32
    starts = np.cumsum(np.concatenate(([0], lengths.reshape(-1))))[:-1]
    assert set(tokens.values[starts]) == {2}  # every sequence begins with [CLS]
    assert not cache.splits["test"].labelled and set(cache.splits["test"].labels) == {-1}
    assert open_cache(quiz.hdf5).manifest.content == cache.manifest.content


@pytest.mark.parametrize("method", ["kd", "pkd-skip"])
def test_every_loss_from_the_cache_is_that_beside_the_teacher(quiz, method):
    cache, accelerator = open_cache(quiz.arrow), make_accelerator("float32")
    config = student(quiz, "unused", method=method)
    teacher = load_classifier(locate(str(quiz.teacher)))
    rows = load_rows(CacheTeacherConfig(**quiz.rows)).splits["train"]
    live = tokenize("train", rows, load_tokenizer(locate(str(quiz.teacher))), 32)
    losses = []
    sources = [(cache.splits["train"], CachedTargets(cache.splits["train"])), (live, LiveTargets(teacher, accelerator))]
    for split, targets in sources:
        model = load_student(cache.teacher, 2, 4)
        learner = EncoderLearner(model, resolve_recipe(config, cache.manifest).objective, config, accelerator, 0)
        for step, ids in enumerate(np.array_split(np.arange(60), 6)):
            batch = collate(split, ids, 0)
            part = Part(batch, targets.for_batch(batch, learner.columns), 1.0)
            losses.append(learner.step([part], step, 6).tolist())
    cached, beside = losses[:6], losses[6:]
    assert np.allclose(cached, beside, rtol=1e-3, atol=1e-6) and len({round(values[0], 5) for values in cached}) == 6


def test_students_in_a_pack_are_the_students_alone(quiz):
    cache, accelerator = open_cache(quiz.arrow), make_accelerator("float32")
    configs = [student(quiz, "unused", method=method, beta=beta) for method, beta in (("pkd-skip", 10.0), ("kd", 0.0))]

    def learners():
        seed_everything(0)
        return [
            EncoderLearner(
                load_student(cache.teacher, 2, 4), resolve_recipe(c, cache.manifest).objective, c, accelerator, 0
            )
            for c in configs
        ]

    alone, packed = [PackLearner([learner]) for learner in learners()], PackLearner(learners())
    split = cache.splits["train"]
    batch = collate(split, np.arange(10), 0)
    part = Part(batch, CachedTargets(split).for_batch(batch, packed.columns), 1.0)
    for step in range(3):
        together = packed.step([part], step, 3)
        apart = [pack.step([part], step, 3)[0] for pack in alone]
        for a, b in zip(together, apart, strict=True):
            assert torch.allclose(a, b, rtol=1e-4, atol=1e-5)
    dev = cache.splits["dev"]
    for a, b in zip(packed.predict(dev), [pack.predict(dev)[0] for pack in alone], strict=True):
        assert a.shape == (30, SEQUENCES) and np.allclose(a, b, atol=1e-4)


def test_student_is_resumed_evaluated_and_loaded_by_transformers(quiz, call, tmp_path):
    whole = train_student.run(student(quiz, tmp_path / "whole", beta=10.0))
    parts = student(quiz, tmp_path / "run", beta=10.0, resume=True)
    assert isinstance(advance(parts, until=4), PausedTraining)
    resumed = advance(parts)
    assert isinstance(resumed, StudentResult) and resumed.metrics == whole.metrics
    weights = [load_file(tmp_path / run / "model" / "model.safetensors") for run in ("run", "whole")]
    assert all((weights[0][name] == tensor).all() for name, tensor in weights[1].items())
    model = transformers.AutoModelForMultipleChoice.from_pretrained(tmp_path / "run" / "model").eval()
    assert type(model).__name__ == "BertForMultipleChoice" and model.config.num_hidden_layers == 2
    split = open_cache(quiz.arrow).splits["dev"]
    (ids,) = by_length(np.arange(30), split.lengths, 30)
    with torch.inference_mode():
        logits = model(**collate(split, ids, 0).inputs).logits
    stored = load_file(tmp_path / "run" / "predictions.safetensors")["dev"]
    assert np.allclose(logits, stored[ids], atol=1e-5)
    evaluated = call("evaluate", tmp_path / "run", "--precision", "float32").json
    assert repeated(evaluated["metrics"], whole.metrics) == whole.metrics
    teacher = call("evaluate", quiz.teacher, "--precision", "float32")  # on its rows, tokenized again
    assert repeated(teacher.json["metrics"], quiz.metrics) == quiz.metrics


@pytest.mark.parametrize("kind", MODELS)
def test_prepared_model_of_choices_computes_what_the_plain_one_does(kind):
    config_class, sizes = MODELS[kind]
    config = config_class(**sizes, architectures=["ForMultipleChoice"])
    Head(SEQUENCES, ("A", "B", "C"), "", multiple_choice=True).configure(config)
    torch.manual_seed(0)
    model = build_classifier(config).eval()
    ids = torch.randint(4, 32, (5, SEQUENCES, 9))
    mask = (torch.arange(9) < torch.randint(4, 10, (5, SEQUENCES, 1))).long()
    inputs = {"input_ids": ids * mask, "attention_mask": mask}
    with torch.inference_mode(), cls_vectors(model, [2]) as plain:
        expected = model(**inputs).logits
    prepare_for_cls(model, torch.device("cpu"))
    with torch.inference_mode(), cls_vectors(model, [2]) as prepared:
        logits = model(**inputs).logits
    assert logits.shape == (5, SEQUENCES) and plain[0].shape == (5 * SEQUENCES, HIDDEN)
    assert torch.allclose(logits, expected, atol=1e-5) and torch.allclose(plain[0], prepared[0], atol=1e-5)


def test_student_starts_from_another_checkpoint(quiz, tmp_path):
    result = train_student.run(student(quiz, tmp_path / "run", method="kd", init=str(quiz.encoder), max_steps=1))
    assert result.parameters > 0
    config = json.loads((tmp_path / "run" / "model" / "config.json").read_text())
    assert config["architectures"] == ["BertForMultipleChoice"] and config["id2label"] == {"0": "A", "1": "B", "2": "C"}


def test_cache_commands(quiz, call, tmp_path):
    copy = shutil.copytree(quiz.arrow, tmp_path / "copy")
    shard = copy / "train" / "00001.arrow"
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    assert call("cache", "verify", copy).code == 2
    assert call("cache", "verify", copy, "--repair").code == 0
    assert shard.read_bytes() == (quiz.arrow / "train" / "00001.arrow").read_bytes()
    assert call("cache", "verify", copy, "--sample", 20).code == 0
    info = call("cache", "info", copy)
    assert "task          quiz, 3 choices" in info.stdout and all(0 <= la["probe"] <= 1 for la in info.json["layers"])
    assert call("cache", "convert", copy, tmp_path / "hdf5", "--format", "hdf5").code == 0
    compared = call("cache", "diff", quiz.hdf5, tmp_path / "hdf5").json
    assert compared["same"] and compared["splits"]["train"]["same"] == 80


def words_of(rows):
    return [word for name, value in rows.items() for word in (f"--{name.replace('_', '-')}", value)]


def test_teacher_of_another_kind_is_refused(quiz, call, tmp_path):
    classifier = load_classifier(str(quiz.encoder), head=Head(3, ("A", "B", "C"), SINGLE_LABEL.problem_type))
    classifier.save_pretrained(tmp_path / "classifier")
    load_tokenizer(str(quiz.encoder)).save_pretrained(tmp_path / "classifier")
    options = ["--teacher", tmp_path / "classifier", "--cache", tmp_path / "cache"]
    refused = call("cache-teacher", *words_of(quiz.rows), *options)
    assert refused.code == 2
    assert refused.error.endswith(
        "is a BertForSequenceClassification, and the teacher of quiz must be a multiple-choice model. Name another "
        "--teacher, or fine-tune one with finetune-teacher"
    )
    rows = {"task": "toy", "train_file": write_rows(tmp_path / "rows.csv", 9, 1, ("A", "B")), "text_columns": "text"}
    options = ["--teacher", quiz.teacher, "--cache", tmp_path / "cache", "--label-column", "label"]
    refused = call("cache-teacher", *words_of(rows), *options)
    assert refused.code == 2
    assert "is a BertForMultipleChoice, and the teacher of toy must be a classifier of single inputs" in refused.error


def test_teacher_whose_choices_have_no_names_is_taken(quiz, tmp_path):
    model = shutil.copytree(quiz.teacher / "model", tmp_path / "model")
    config = json.loads((model / "config.json").read_text())
    plain = {name: value for name, value in config.items() if name not in ("id2label", "label2id")}
    (model / "config.json").write_text(json.dumps(plain))
    options = {"dtype": "float32", "precision": "float32", "shard_rows": 32, "allow_weak_teacher": True}
    cache_teacher.run(CacheTeacherConfig(**quiz.rows, **options, teacher=str(model), cache=str(tmp_path / "cache")))
    assert open_cache(tmp_path / "cache").manifest.identity == open_cache(quiz.arrow).manifest.identity


def test_order_of_classes_is_refused_for_choices(quiz, call, tmp_path):
    options = ["--teacher", quiz.teacher, "--label-map", "B,A,C", "--cache", tmp_path / "cache"]
    refused = call("cache-teacher", *words_of(quiz.rows), *options)
    assert refused.error == "Error: --label-map names classes, and quiz does not have any: leave it out"


def test_texts_and_choices_are_kept_and_exported(quiz, tmp_path, call):
    shard = open_cache(quiz.arrow).splits["dev"].shards[0]
    texts, choices = (
        [decode_texts(shard[f"{name}_{n + 1}"]) for n in range(m)] for name, m in (("text", 2), ("choice", 3))
    )
    rows = load_rows(RowsConfig(**quiz.rows)).splits["dev"]
    assert choice_inputs(texts, choices) == rows.inputs(0, len(rows))
    done = call("cache", "export", quiz.arrow, "--out", tmp_path / "quiz.jsonl", "--split", "dev")
    assert done.json["columns"] == ["split", "example_id", "text", "question", "choices", "label", "probabilities"]
    exported = [json.loads(line) for line in (tmp_path / "quiz.jsonl").read_text().splitlines()]
    written = [json.loads(line) for line in Path(quiz.rows["dev_file"]).read_text().splitlines()]
    columns = ("text", "question", "choices", "label")
    assert [tuple(row[name] for name in columns) for row in exported] == [tuple(row.values()) for row in written]
