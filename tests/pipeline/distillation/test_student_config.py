"""Configuration files of students with new weights, which may come from anyone."""

import json

import pytest
import torch

from pipeline.data.task_kinds import MULTIPLE_CHOICE, REGRESSION, SINGLE_LABEL
from pipeline.data.tasks import head_of
from pipeline.distillation import student_config
from pipeline.distillation.student_config import new_student, read_student_config
from pipeline.errors import BadModel, BadOption
from tests.helpers.encoders import SIZES, tokenizer

BERT = {"model_type": "bert", **SIZES}


def write(tmp_path, **changes):
    file = tmp_path / "config.json"
    file.write_text(json.dumps({name: value for name, value in (BERT | changes).items() if value is not None}))
    return str(file)


def test_student_has_the_head_of_the_task_and_the_padding_of_the_tokenizer(tmp_path):
    name = write(tmp_path, id2label={str(i): str(i) for i in range(7)}, pad_token_id=9, num_hidden_layers=2)
    heads = [head_of(SINGLE_LABEL, ("no", "yes")), head_of(REGRESSION, ()), head_of(MULTIPLE_CHOICE, ("A", "B", "C"))]
    for head, logits in zip(heads, (2, 1, 3), strict=True):
        torch.manual_seed(0)
        model = new_student(name, tokenizer(), head)
        assert (model.config.num_labels, model.config.pad_token_id, model.config.num_hidden_layers) == (logits, 0, 2)
        assert type(model).__name__.endswith("MultipleChoice" if head.multiple_choice else "Classification")
        torch.manual_seed(0)
        assert torch.equal(
            new_student(name, tokenizer(), head).state_dict()["classifier.weight"], model.classifier.weight
        )


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"auto_map": {"AutoConfig": "evil.Config"}}, "config.json asks for code of its own (auto_map)"),
        ({"attn_implementation": "kernels/x"}, "config.json asks for code of its own (attn_implementation)"),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers of config.json is 1000000000"),
        ({"model_type": None}, 'it does not say which "model_type" it is of'),
        ({"is_decoder": True}, "bert is not a stack of encoder layers and cannot be cut. Use a BERT-like encoder"),
    ],
)
def test_files_that_are_refused(tmp_path, changes, text):
    name = write(tmp_path, **changes)
    with pytest.raises(BadOption) as error:
        read_student_config(name)
    assert str(error.value) == (
        f"--student-config {name} is not the configuration of an encoder ({text}). Name a config.json that "
        "transformers saved, for example of a small BERT"
    )


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"[" * 100_000, b'{"model_type": "nothing-like-it"}', b"\xff"])
def test_files_that_are_not_configurations(tmp_path, content):
    file = tmp_path / "c.json"
    file.write_bytes(content)
    with pytest.raises(BadOption, match=r"^--student-config .* is not the configuration of an encoder \("):
        read_student_config(str(file))
    with pytest.raises(BadOption, match=r"^--student-config .* cannot be read \("):
        read_student_config(str(tmp_path / "missing.json"))
    with pytest.raises(BadOption, match=r"^--student-config .* cannot be read \("):
        read_student_config(str(tmp_path))


def test_models_that_cannot_be_trained(tmp_path, monkeypatch):
    head = head_of(SINGLE_LABEL, ("no", "yes"))
    with pytest.raises(BadOption) as error:
        new_student(write(tmp_path, vocab_size=7), tokenizer(), head)
    largest = max(tokenizer().get_vocab().values())
    assert str(error.value).endswith(
        f'has a vocab_size of 7, and the tokenizer has token ids up to {largest}. Write "vocab_size": {largest + 1} '
        "in it"
    )
    with pytest.raises(BadOption, match=r": such a model cannot be made \(.*\)\. Correct the file, or name another$"):
        new_student(write(tmp_path, num_attention_heads=5), tokenizer(), head)
    with pytest.raises(BadModel, match=r"positions"):
        new_student(write(tmp_path, max_position_embeddings=1), tokenizer(), head)
    monkeypatch.setattr(student_config, "memory_bytes", lambda: 100_000)
    with pytest.raises(BadOption, match=r"its training needs .*, and this machine has 100 kB"):
        new_student(write(tmp_path), tokenizer(), head)
