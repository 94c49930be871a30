"""Tiny encoders of real classes, with a tokenizer of 24 words."""

from pathlib import Path

import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from tests.helpers.rows import WORDS

SIZES = dict(hidden_size=32, num_hidden_layers=4, num_attention_heads=2, intermediate_size=64, vocab_size=32)
MODELS = {
    "bert": (transformers.BertConfig, SIZES),
    "roberta": (transformers.RobertaConfig, SIZES | {"pad_token_id": 0, "max_position_embeddings": 130}),
    "distilbert": (transformers.DistilBertConfig, dict(dim=32, n_layers=4, n_heads=2, hidden_dim=64, vocab_size=32)),
    "electra": (transformers.ElectraConfig, SIZES | {"embedding_size": 16}),
    "mpnet": (transformers.MPNetConfig, SIZES | {"pad_token_id": 0, "max_position_embeddings": 130}),
}


def tokenizer(types: bool = True) -> transformers.PreTrainedTokenizerFast:
    vocab = {word: i for i, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS])}
    backend = Tokenizer(models.WordLevel(vocab, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = ["input_ids", "token_type_ids", "attention_mask"] if types else ["input_ids", "attention_mask"]
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_input_names=names,
        model_max_length=128,
    )


def save_pretrained_encoder(directory: Path, kind: str = "bert", seed: int = 0, **sizes) -> Path:
    """A hub-style directory of a random encoder without a head."""
    config_class, defaults = MODELS[kind]
    torch.manual_seed(seed)
    transformers.AutoModel.from_config(config_class(**defaults | sizes)).save_pretrained(directory)
    tokenizer(types=kind in ("bert", "electra")).save_pretrained(directory)
    return directory
