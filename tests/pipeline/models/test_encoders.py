"""Every supported encoder, cut by the one generic function, computes what the whole one computes."""

import json

import pytest
import torch
import transformers

from pipeline.cache.teacher_files import load_student, write_teacher_files
from pipeline.errors import BadCache, BadModel
from pipeline.models.checkpoints import Head, load_classifier, load_tokenizer, locate, output_names
from pipeline.models.encoders import cls_vectors, cut_config, layer_list
from pipeline.system.digests import config_digest, tokenizer_digest, weights_digest
from tests.helpers.encoders import MODELS, SIZES, save_pretrained_encoder, tokenizer

IDS = torch.tensor([[2, 5, 6, 7, 3], [2, 8, 9, 3, 0]])
MASK = (IDS != 0).long()


@pytest.fixture(params=MODELS)
def teacher(request, tmp_path):
    directory = save_pretrained_encoder(tmp_path / "encoder", request.param)
    torch.manual_seed(1)
    return load_classifier(str(directory), head=Head(3, ("x", "y", "z"), "single_label_classification")).eval()


def read(model, layers):
    with torch.no_grad(), cls_vectors(model, layers) as vectors:
        output = model(input_ids=IDS, attention_mask=MASK, output_hidden_states=True)
    return list(vectors), output.hidden_states


def test_cls_vectors_are_those_of_the_hidden_states(teacher):
    vectors, hidden = read(teacher, (1, 2, 3, 4))
    for layer, vector in enumerate(vectors, start=1):
        assert torch.equal(vector, hidden[layer][:, 0])


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_layer_j_of_a_cut_model_is_layer_j_of_the_whole_to_the_last_bit(teacher, depth, tmp_path):
    write_teacher_files(tmp_path, teacher, tokenizer())
    student = load_student(tmp_path, depth, 4).eval()
    layers = range(1, depth + 1)
    assert len(layer_list(student)[1]) == depth
    for whole, cut in zip(read(teacher, layers)[0], read(student, layers)[0], strict=True):
        assert torch.equal(whole, cut)
    whole_state = teacher.state_dict()
    assert all(torch.equal(tensor, whole_state[name]) for name, tensor in student.state_dict().items())


def test_teacher_files_name_neither_code_nor_paths(tmp_path):
    """What a teacher's own files say of code or of directories stays behind: a reader would refuse it."""
    model, words = (
        load_classifier(
            str(save_pretrained_encoder(tmp_path / "teacher")), head=Head(2, (), "single_label_classification")
        ),
        tokenizer(),
    )
    model.config.auto_map = {"AutoModel": "evil.Model"}
    words.init_kwargs |= {
        "special_tokens_map_file": "/home/ann/map.json",
        "auto_map": {"AutoTokenizer": ["evil.T", None]},
    }
    (tmp_path / "files").mkdir()
    write_teacher_files(tmp_path / "files", model, words)
    for path in (tmp_path / "files").glob("*.json"):
        assert "evil" not in path.read_text() and "/home" not in path.read_text()
    load_student(tmp_path / "files", 2, 4)
    model.config.quantization_config = {"quant_method": "gptq"}
    with pytest.raises(BadModel, match=r"this teacher cannot be cached: config\.json asks for code"):
        write_teacher_files(tmp_path / "files", model, words)


def test_a_student_does_not_read_the_upper_layers(teacher, tmp_path):
    write_teacher_files(tmp_path, teacher, tokenizer())
    for layer in (3, 4):
        (tmp_path / f"layer-{layer:02d}.safetensors").unlink()
    load_student(tmp_path, 2, 4)
    with pytest.raises(BadCache) as error:
        load_student(tmp_path, 3, 4)
    assert str(error.value).startswith(f"{tmp_path}: the teacher in this cache is damaged (")
    assert str(error.value).endswith(f"See: python cli.py cache verify {tmp_path.parent}")


def test_teacher_files_load_with_plain_transformers_and_have_the_same_digests(teacher, tmp_path):
    write_teacher_files(tmp_path, teacher, tokenizer())
    plain = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert weights_digest(plain.state_dict()) == weights_digest(teacher.state_dict())
    assert config_digest(plain.config) == config_digest(teacher.config)
    assert tokenizer_digest(load_tokenizer(str(tmp_path))) == tokenizer_digest(tokenizer())
    assert output_names(plain.config) == ("x", "y", "z")


def test_loading_fewer_layers_from_any_checkpoint(teacher, tmp_path):
    teacher.save_pretrained(tmp_path / "whole")
    cut = load_classifier(str(tmp_path / "whole"), layers=2).eval()
    for whole, part in zip(read(teacher, (1, 2))[0], read(cut, (1, 2))[0], strict=True):
        assert torch.equal(whole, part)


@pytest.mark.parametrize(
    ("config", "text"),
    [
        (
            transformers.FunnelConfig(vocab_size=32, block_sizes=[2, 2], d_model=32, n_head=2, d_head=16, d_inner=64),
            "funnel has no list of its 4 layers and cannot be cut. Use a BERT-like encoder (docs/encoders.md has a "
            "list)",
        ),
        (
            transformers.SqueezeBertConfig(**SIZES, embedding_size=32),
            "squeezebert cannot be distilled: its layer 1 does not return hidden states [rows, tokens, 32]. Use a "
            "BERT-like encoder (docs/encoders.md)",
        ),
        (
            transformers.GPT2Config(vocab_size=32, n_embd=32, n_layer=4, n_head=2, pad_token_id=0),
            "gpt2 cannot be distilled: its first position does not see the text after it, as in a decoder. Use a "
            "BERT-like encoder (docs/encoders.md)",
        ),
        (
            transformers.BartConfig(d_model=32, encoder_layers=2, decoder_layers=2, vocab_size=32),
            "bart is not a stack of encoder layers and cannot be cut. Use a BERT-like encoder",
        ),
    ],
)
def test_an_encoder_that_cannot_be_cut_says_so_by_name(config, text, tmp_path):
    transformers.AutoModelForSequenceClassification.from_config(config).save_pretrained(tmp_path)
    with pytest.raises(BadModel) as error:
        load_classifier(str(tmp_path))
    assert str(error.value) == text


def test_a_decoder_has_no_cls(tmp_path):
    save_pretrained_encoder(tmp_path)
    without_cls = tokenizer()
    without_cls.backend_tokenizer.post_processor = None
    without_cls.save_pretrained(tmp_path)
    with pytest.raises(BadModel) as error:
        load_tokenizer(str(tmp_path))
    assert str(error.value) == (
        f"{tmp_path}: its inputs do not begin with a [CLS] token, so there is no [CLS] vector to distil"
    )


def test_a_cut_configuration_leaves_the_original_alone():
    config = transformers.DistilBertConfig(n_layers=4)
    assert cut_config(config, 2).n_layers == 2 and config.n_layers == 4


def test_a_directory_without_a_model(tmp_path):
    with pytest.raises(BadModel) as error:
        locate(str(tmp_path))
    assert str(error.value) == (
        f"{tmp_path} holds no model (no config.json, no finished run.json). Give another directory"
    )


def test_a_checkpoint_that_is_garbage(tmp_path):
    save_pretrained_encoder(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"garbage")
    with pytest.raises(BadModel) as error:
        load_classifier(str(tmp_path))
    assert str(error.value).startswith(f"{tmp_path} cannot be loaded (")
    assert str(error.value).endswith("Check the directory")


def test_remote_code_is_never_run(tmp_path):
    save_pretrained_encoder(tmp_path)
    config = (tmp_path / "config.json").read_text()
    auto_map = '"auto_map": {"AutoConfig": "evil.Config"}, "model_type": "evil"'
    (tmp_path / "config.json").write_text(config.replace('"model_type": "bert"', auto_map))
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(BadModel):
        load_classifier(str(tmp_path))
    assert not (tmp_path / "ran").exists()


def test_a_checkpoint_without_a_head_is_no_teacher(tmp_path):
    directory = save_pretrained_encoder(tmp_path / "encoder")
    with pytest.raises(BadModel) as error:
        load_classifier(str(directory))
    assert str(error.value) == (
        f"{directory} has no trained classification head (classifier.bias is missing). Fine-tune it first: "
        f"python cli.py finetune-teacher --model {directory} --task TASK"
    )


def test_a_head_of_another_size_is_made_anew_for_a_new_task(tmp_path):
    directory = save_pretrained_encoder(tmp_path / "encoder")
    load_classifier(str(directory), head=Head(3, (), "single_label_classification")).save_pretrained(directory)
    assert load_classifier(str(directory), head=Head(2, (), "single_label_classification")).config.num_labels == 2


def test_a_checkpoint_that_lacks_encoder_weights(tmp_path):
    directory = save_pretrained_encoder(tmp_path / "encoder")
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 5}))
    with pytest.raises(BadModel) as error:
        load_classifier(str(directory), head=Head(2, (), "single_label_classification"))
    assert str(error.value) == (
        f"{directory} lacks 16 of the encoder's weights (bert.encoder.layer.4.attention.output.LayerNorm.bias, …), "
        "or has them in another shape. Check the directory"
    )


def test_more_names_than_outputs_are_refused(teacher, tmp_path):
    teacher.save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    names = {"id2label": {"0": "x", "1": "y", "2": "z", "3": "w"}, "label2id": None}
    path.write_text(json.dumps(json.loads(path.read_text()) | names))
    with pytest.raises(BadModel) as error:
        load_classifier(str(tmp_path))
    assert str(error.value) == (
        f"{tmp_path}: its head has 3 outputs, and its configuration names 4 labels. Correct id2label in its config.json"
    )


@pytest.mark.parametrize("names", [{"1": "x", "2": "y", "3": "z"}, {"9": "z", "0": "x", "5": "y"}])
def test_names_of_outputs_follow_their_numbers(teacher, tmp_path, names):
    teacher.save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"id2label": names, "label2id": None}))
    assert output_names(load_classifier(str(tmp_path)).config) == ("x", "y", "z")
