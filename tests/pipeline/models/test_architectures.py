"""Every architecture of docs/encoders.md: what runs is the plain model, and its first layers are a student."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from safetensors.numpy import load_file

from docs.encoders import PAGE, page
from pipeline.cache.teacher_files import load_student, write_teacher_files
from pipeline.config.training import CacheTeacherConfig, FinetuneTeacherConfig, TrainStudentConfig
from pipeline.errors import BadModel
from pipeline.models.accelerator import prepare_for_cls
from pipeline.models.checkpoints import build_classifier, check_cuts
from pipeline.models.encoders import cut_config
from pipeline.models.model_checks import check_saves
from pipeline.models.probe import check_encoder, first_layers_equal, observe
from pipeline.training.student import advance
from stages import cache_teacher, finetune_teacher, train_student
from tests.helpers.encoders import ARCHITECTURES, REFUSED, SIZES, save_pretrained_encoder, tokenizer
from tests.helpers.rows import write_rows

SHORT = {"precision": "float32", "batch_size": 8}
# Those whose mechanism is that of another in the list go the whole way in `make soak` alone.
WHOLE_WAY = ("albert", "deberta-v2", "longformer", "modernbert", "roberta-prelayernorm")


def build(kind: str, seed: int = 0) -> torch.nn.Module:
    """A model whose every weight matters, as those of a trained one do."""
    config_class, sizes = (ARCHITECTURES | REFUSED)[kind]
    torch.manual_seed(seed)
    model = build_classifier(config_class(**sizes))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model


def test_page_is_current():
    assert PAGE.read_text(encoding="utf-8") == page(), "docs/encoders.md is not current. Run: make docs"


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_prepared_model_computes_what_the_plain_one_does(kind):
    plain, prepared = build(kind), prepare_for_cls(build(kind), torch.device("cpu"))
    check_encoder(plain)
    before = torch.get_rng_state()
    assert observe(plain).equals(observe(prepared))
    assert torch.equal(torch.get_rng_state(), before) and plain.training
    assert all(parameter.grad is None for parameter in plain.parameters())


@pytest.mark.parametrize("kind", ARCHITECTURES)
@pytest.mark.parametrize("layers", [1, 3])
def test_cut_model_saves_and_computes_the_first_layers(kind, layers):
    whole = build(kind)
    cut = build_classifier(cut_config(whole.config, layers))
    assert not cut.load_state_dict(whole.state_dict(), strict=False).missing_keys
    check_saves(cut)
    assert first_layers_equal(cut, whole)
    assert not first_layers_equal(cut, build(kind, seed=1))


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_cuts_of_a_teacher_are_those_of_its_first_layers(kind, capsys):
    check_cuts(build(kind))
    assert "warning" not in capsys.readouterr().err


def test_cut_that_is_another_network_is_named(capsys):
    config_class, sizes = ARCHITECTURES["albert"]
    check_cuts(build_classifier(config_class(**sizes, num_hidden_groups=2)))
    assert "warning: the first 2 layers of this albert alone do not compute" in capsys.readouterr().err


def test_encoder_that_sees_the_padding_is_refused():
    config = transformers.FNetConfig(hidden_size=32, num_hidden_layers=2, intermediate_size=64, vocab_size=32)
    with pytest.raises(BadModel, match=r"^fnet cannot be distilled: its outputs depend on the padding of a batch\."):
        check_encoder(build_classifier(config))


def test_encoder_that_fails_says_why():
    config = transformers.XmodConfig(**SIZES, pad_token_id=0, max_position_embeddings=130, languages=["en", "de"])
    with pytest.raises(BadModel, match=r"^this xmod cannot be run \(ValueError: Input language unknown"):
        check_encoder(build_classifier(config))


def test_weight_whose_size_depends_on_the_layers_is_no_damage(tmp_path):
    config = transformers.EsmConfig(**SIZES, pad_token_id=0, mask_token_id=4, max_position_embeddings=130)
    write_teacher_files(tmp_path, build_classifier(config), tokenizer())
    with pytest.raises(BadModel, match=r"^a esm cannot be cut to 2 layers: esm\.contact_head\.regression\.weight has"):
        load_student(tmp_path, 2, 4)


@pytest.mark.parametrize("kind", REFUSED)
def test_encoder_without_hidden_states_of_cls_is_refused(kind):
    with pytest.raises(BadModel, match=f"^{kind} "):
        check_encoder(build(kind))


@pytest.mark.parametrize(
    ("kind", "reason"),
    [("gpt2", "its first position does not see the text after it, as in"), ("mra", "no position sees another, as")],
)
def test_decoder_is_told_from_a_model_without_attention(kind, reason):
    if kind == "mra" and torch.cuda.is_available():
        pytest.skip("with its kernel it has attention")
    with pytest.raises(BadModel, match=f"^{kind} cannot be distilled: {reason}"):
        check_encoder(build(kind))


@pytest.fixture(scope="module")
def rows(tmp_path_factory) -> dict:
    root = tmp_path_factory.mktemp("rows")
    files = {"train_file": write_rows(root / "train.csv", 24, 1), "dev_file": write_rows(root / "dev.csv", 12, 2)}
    return {name: str(path) for name, path in files.items()} | {
        "task": "toy",
        "text_columns": "text",
        "label_column": "label",
        "max_length": 32,
    }


@pytest.mark.trains
@pytest.mark.parametrize(
    "kind", [kind if kind in WHOLE_WAY else pytest.param(kind, marks=pytest.mark.soak) for kind in ARCHITECTURES]
)
def test_teacher_cache_student_and_what_is_made_of_it(kind, rows, in_directory):
    encoder = save_pretrained_encoder(Path("encoder"), kind)
    flags = json.loads((encoder / "config.json").read_text()) | {"output_attentions": True, "return_dict": False}
    (encoder / "config.json").write_text(json.dumps(flags))
    finetune_teacher.run(FinetuneTeacherConfig(**rows, **SHORT, model=str(encoder), out="teacher", max_steps=1))
    cache_teacher.run(
        CacheTeacherConfig(**rows, precision="float32", teacher="teacher", cache="cache", allow_weak_teacher=True)
    )
    student = {"cache": "cache", "student_layers": 2, "max_steps": 2, **SHORT}
    advance(TrainStudentConfig(**student, out="student"), until=1)
    train_student.run(TrainStudentConfig(**student, out="student", resume=True))
    model = transformers.AutoModelForSequenceClassification.from_pretrained("student/model").eval()
    words = transformers.AutoTokenizer.from_pretrained("student/model")
    texts = [line.split(",")[0] for line in Path(rows["dev_file"]).read_text().splitlines()[1:]]
    with torch.no_grad():
        batch = words(texts, return_tensors="pt", padding=True, truncation=True, max_length=32)
        logits = model(**batch).logits.numpy()
    np.testing.assert_allclose(logits, load_file("student/predictions.safetensors")["dev"], atol=1e-4)
    other = train_student.run(TrainStudentConfig(**student, init="encoder", out="other"))
    assert other.student_layers == 2
