"""A tokenizer against its model: token ids, segment ids and positions, of real classes."""

import pytest
import torch
import transformers

from pipeline.errors import BadModel, BadOption
from pipeline.models.inputs import check_max_length, fit_tokenizer, leave_out_segments, position_limit, segment_rows
from pipeline.models.probe import observe, probe_batch
from tests.helpers.encoders import SIZES, tokenizer

SMALL = SIZES | {"num_hidden_layers": 1, "max_position_embeddings": 40}
RELATIVE = {"relative_attention": True, "pos_att_type": ["c2p", "p2c"], "position_biased_input": False}
DISTILBERT = transformers.DistilBertConfig(
    dim=32, n_layers=1, n_heads=2, hidden_dim=64, vocab_size=32, max_position_embeddings=40
)
UNLIMITED = 10**6
# configuration, positions, segments
MODELS = {
    "bert": (transformers.BertConfig(**SMALL), 40, 2),
    "bert, one segment": (transformers.BertConfig(**SMALL, type_vocab_size=1), 40, 1),
    "roberta": (transformers.RobertaConfig(**SMALL, type_vocab_size=1, pad_token_id=3), 36, 1),
    "xlm-roberta": (transformers.XLMRobertaConfig(**SMALL), 38, 2),
    "xlm-roberta-xl": (transformers.XLMRobertaXLConfig(**SMALL), 38, 1),
    "roberta-prelayernorm": (transformers.RobertaPreLayerNormConfig(**SMALL), 38, 2),
    "data2vec-text": (transformers.Data2VecTextConfig(**SMALL), 38, 2),
    "camembert": (transformers.CamembertConfig(**SMALL, type_vocab_size=1), 38, 1),
    "longformer": (transformers.LongformerConfig(**SMALL, attention_window=[8]), 38, 2),
    "mpnet": (transformers.MPNetConfig(**SMALL, pad_token_id=0), 38, 0),
    "distilbert": (DISTILBERT, 40, 0),
    "electra": (transformers.ElectraConfig(**SMALL, embedding_size=16), 40, 2),
    "deberta": (transformers.DebertaConfig(**SMALL), 40, 0),
    "deberta-v2": (transformers.DebertaV2Config(**SMALL, **RELATIVE), UNLIMITED, 0),
    "nystromformer": (transformers.NystromformerConfig(**SMALL, segment_means_seq_len=2, num_landmarks=2), 40, 2),
    "modernbert": (
        transformers.ModernBertConfig(
            **SMALL, pad_token_id=0, cls_token_id=2, sep_token_id=3, bos_token_id=2, eos_token_id=3
        ),
        UNLIMITED,
        0,
    ),
}


def build(config):
    torch.manual_seed(0)
    return transformers.AutoModelForSequenceClassification.from_config(config).eval()


def takes(model, **inputs) -> bool:
    try:
        with torch.inference_mode():
            model(**inputs)
    except (IndexError, RuntimeError):
        return False
    return True


@pytest.mark.parametrize(("config", "positions", "segments"), MODELS.values(), ids=MODELS)
def test_limits_of_a_model_are_those_at_which_it_fails(config, positions, segments):
    model = build(config)
    assert (position_limit(model), segment_rows(model)) == (positions, segments)
    longest = min(positions, 60)
    assert takes(model, input_ids=torch.full((1, longest), 7))
    assert takes(model, input_ids=torch.full((1, longest + 1), 7)) == (positions == UNLIMITED)
    if segments:
        ids = torch.full((1, 8), 7)
        assert takes(model, input_ids=ids, token_type_ids=torch.full_like(ids, segments - 1))
        assert not takes(model, input_ids=ids, token_type_ids=torch.full_like(ids, segments))


@pytest.mark.parametrize(("config", "positions", "segments"), MODELS.values(), ids=MODELS)
def test_fitted_tokenizer_makes_pairs_that_the_model_takes_and_saves_so(config, positions, segments, tmp_path):
    model, pairs = build(config), tokenizer()
    fit_tokenizer("m", pairs, model, texts=2)
    pairs.save_pretrained(tmp_path)
    encoded = transformers.AutoTokenizer.from_pretrained(tmp_path)("a good film", "a bad plot", return_tensors="pt")
    assert ("token_type_ids" in encoded) == (segments == 2)
    assert takes(model, **encoded)


def test_segment_ids_that_are_all_zero_stay_with_a_model_of_one_segment():
    singles = tokenizer()
    fit_tokenizer("m", singles, build(transformers.BertConfig(**SMALL, type_vocab_size=1)), texts=1)
    assert "token_type_ids" in singles.model_input_names


def test_model_without_segments_ignores_them():
    inputs = {"input_ids": torch.full((1, 8), 7), "attention_mask": torch.ones(1, 8, dtype=torch.long)}
    segments = torch.ones(1, 8, dtype=torch.long)
    for name, kept in {"bert": True, "bert, one segment": False, "distilbert": False}.items():
        model = build(MODELS[name][0])
        leave_out_segments(model, 2)
        with torch.inference_mode():
            without, given = model(**inputs).logits, model(**inputs, token_type_ids=segments).logits
        assert torch.equal(without, given) != kept


def test_check_max_length_names_the_limit():
    model = build(MODELS["roberta"][0])
    check_max_length(36, tokenizer(), model)
    with pytest.raises(BadOption) as error:
        check_max_length(37, tokenizer(), model)
    assert str(error.value) == "--max-length 37: this model takes 36 tokens at most. Try --max-length 36"


def test_model_for_fewer_tokens_than_max_length_can_be_is_refused():
    short = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer().backend_tokenizer, model_max_length=7)
    with pytest.raises(BadModel) as error:
        check_max_length(8, short, build(MODELS["bert"][0]))
    assert str(error.value) == (
        "bert: this model, or its tokenizer (model_max_length), takes 7 tokens at most, and an input can have 8. Use "
        "another model"
    )


@pytest.mark.parametrize("special", [False, True])
def test_token_without_an_embedding_is_refused_by_both_numbers(special):
    larger = tokenizer()
    words = [f"[E{number}]" for number in range(32 - len(larger))]
    larger.add_tokens(words, special_tokens=special)
    model = build(transformers.BertConfig(**SMALL))
    fit_tokenizer("m", larger, model, texts=1)  # as many tokens as embeddings
    larger.add_tokens(["\x1bnew"], special_tokens=special)
    with pytest.raises(BadModel) as error:
        fit_tokenizer("m", larger, model, texts=1)
    assert str(error.value) == (
        "m has 32 token embeddings, and its tokenizer has token ids up to 32 ('new'). Save the model's own tokenizer "
        "there, or call model.resize_token_embeddings(33) and save the model again"
    )
    model.resize_token_embeddings(64)
    fit_tokenizer("m", larger, model, texts=1)


def test_probe_is_as_short_as_the_model_has_positions_for():
    for positions, length in ((40, 12), (12, 12), (8, 8), (2, 2)):
        config = transformers.BertConfig(**SMALL | {"max_position_embeddings": positions})
        model = transformers.AutoModelForSequenceClassification.from_config(config)
        assert probe_batch(model)["input_ids"].shape == (4, length)
        assert observe(model).equals(observe(model))
    model = transformers.AutoModel.from_config(transformers.BertConfig(**SMALL | {"max_position_embeddings": 1}))
    with pytest.raises(BadModel, match=r"^bert has positions for 1 tokens\. Use a model with more positions$"):
        probe_batch(model)
