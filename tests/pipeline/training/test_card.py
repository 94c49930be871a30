"""Cards of models: what is in them, for each kind of task, and that words of others stay words."""

import json

import pytest
from huggingface_hub import ModelCard

from pipeline.training.card import model_card
from pipeline.training.card_command import command_of
from tests.pipeline.system.test_markdown import HOSTILE

STUDENT = {
    "command": "train-student",
    "config": {"method": "kd", "alpha": 0.5, "teacher_layers": None, "epochs": 3.0, "beta": 50.0},
    "task": "rte",
    "kind": "single-label",
    "labels": ["entailment", "not_entailment"],
    "text_columns": ["sentence1", "sentence2"],
    "max_length": 128,
    "dev_examples": {"dev": 277},
    "intervals": {"dev": {"accuracy": [0.6, 0.7]}},
    "teacher": {"name": "textattack/bert-base-uncased-RTE", "metrics": {"dev": {"accuracy": 0.7}}},
    "environment": {"packages": {"torch": "2.0"}, "time": "2026-01-01"},
    "result": {
        "metrics": {"dev": {"accuracy": 0.65}},
        "agreement": {"dev": 0.9},
        "parameters": 1234567,
        "method": "kd",
        "student_layers": 3,
        "cache_identity": "ab12",
        "labelled_examples": 2490,
        "unlabelled_examples": 0,
    },
}


def test_card_of_a_student_is_one_of_the_hub():
    text = model_card(STUDENT)
    data = ModelCard(text).data
    assert (data.pipeline_tag, data.library_name) == ("text-classification", "transformers")
    assert data.base_model == "textattack/bert-base-uncased-RTE" and data.language is None
    [result] = data.eval_results
    assert (result.dataset_type, result.dataset_config, result.dataset_split) == ("nyu-mll/glue", "rte", "dev")
    assert (result.metric_type, result.metric_value) == ("accuracy", 0.65)
    for words in (
        "# Student for `rte`",
        "Labels: `entailment`, `not_entailment`",
        "- examples with a label: 2,490",
        "- its metrics on `dev`: `accuracy` 0.7",
        "| `dev` | `accuracy` | 0.6500 | 0.6000 – 0.7000 |",
        "```console\npkd train-student --cache data/rte --epochs 3 --method kd --beta 50\n```",
        'model([{"text": "A text.", "text_pair": "Another text."}], truncation=True, max_length=128)',
        "- parameters: 1,234,567",
    ):
        assert words in text, words
    assert "2026" not in text and text == model_card(json.loads(json.dumps(STUDENT)))


@pytest.mark.parametrize(
    ("kind", "settings", "words"),
    [
        ("multi-label", {"label_threshold": 0.3}, 'each["score"] >= 0.3'),
        ("scaled-regression", {"label_mean": 5.0, "label_std": 2.0}, 'print(5.0 + 2.0 * score["score"])'),
        ("regression", {}, 'print(0.0 + 1.0 * score["score"])'),
        ("multiple-choice", {}, "AutoModelForMultipleChoice"),
    ],
)
def test_lines_of_use_are_those_of_the_kind(kind, settings, words):
    text = model_card(STUDENT | {"kind": kind, "settings": settings, "text_columns": ["text"]})
    lines = text.rpartition("```python\n")[2].removesuffix("\n```\n")
    assert words in lines
    compile(lines, "card", "exec")


@pytest.mark.parametrize(
    ("columns", "seconds"),
    [(["text"], "    choices,"), (["text", "question"], '    [f"{question} {choice}" for choice in')],
)
def test_choices_are_read_as_in_training(columns, seconds):
    text = model_card(STUDENT | {"kind": "multiple-choice", "text_columns": columns, "labels": ["A", "B"]})
    lines = text.rpartition("```python\n")[2].removesuffix("\n```\n")
    assert seconds in lines and ("question" in lines) == (len(columns) == 2)
    compile(lines, "card", "exec")


def test_words_of_others_are_neither_markup_nor_metadata():
    record = {
        "command": "train-student",
        "task": HOSTILE,
        "kind": HOSTILE,
        "labels": [HOSTILE, "b"],
        "text_columns": [HOSTILE],
        "origin": HOSTILE,
        "config": {HOSTILE: HOSTILE, "init": f"{HOSTILE}\n```\n# title"},
        "result": {"metrics": {HOSTILE: {HOSTILE: 0.5}}, "method": HOSTILE},
        "environment": {"packages": {HOSTILE: HOSTILE}},
    }
    text = model_card(record)
    assert [line for line in text.splitlines() if line.startswith("#")] == [
        line for line in text.splitlines() if line.startswith(("# Student for", "## "))
    ]
    assert "\x1b" not in text and len([line for line in text.splitlines() if line == "---"]) == 2
    data = ModelCard(text).data.to_dict()
    assert set(data) == {"library_name", "metrics", "pipeline_tag", "tags", "model-index"}


ODD = {"result": 3, "config": [1], "labels": 5, "teacher": "x", "intervals": {"dev": 1}, "kind": [], "task": 7}


@pytest.mark.parametrize("record", [{}, ODD])
def test_card_of_a_record_without_its_fields(record):
    assert ModelCard(model_card(record)).data.library_name == "transformers"


def test_sections_come_before_the_limits():
    text = model_card(STUDENT, [("Export", "int8")], "Call it.")
    assert text.index("## Metrics") < text.index("## Export\n\nint8") < text.index("## Limits") < text.index("Call it.")


def test_command_of_a_teacher_names_its_files_without_their_directories():
    rows = {"task": "own", "train_file": ["/home/me/a.csv", "/home/me/b c.csv"], "text_columns": "x", "dev_file": None}
    record = {"command": "finetune-teacher", "config": {"task": "own", "model": "demo", "lr": 2e-5}, "rows": rows}
    assert command_of(record, "own") == (
        "pkd finetune-teacher --task own --train-file a.csv --train-file 'b c.csv' --text-columns x --lr 2e-05 "
        "--model demo"
    )
