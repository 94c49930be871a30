"""Tiny encoders of real classes, with a tokenizer of 24 words."""

from pathlib import Path

import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from tests.helpers.rows import WORDS

SIZES = dict(hidden_size=32, num_hidden_layers=4, num_attention_heads=2, intermediate_size=64, vocab_size=32)
AFTER_PADDING = {"pad_token_id": 0, "max_position_embeddings": 130}  # positions are numbered from the padding on
SPECIAL = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
DISENTANGLED = {"type_vocab_size": 0, "relative_attention": True, "position_biased_input": False, "pad_token_id": 0}
DISENTANGLED |= {"pos_att_type": ["p2c", "c2p"]}
BUCKETS = {"position_buckets": 8, "norm_rel_ebd": "layer_norm", "share_att_key": True}
MODELS = {
    "bert": (transformers.BertConfig, SIZES),
    "roberta": (transformers.RobertaConfig, SIZES | AFTER_PADDING),
    "distilbert": (transformers.DistilBertConfig, dict(dim=32, n_layers=4, n_heads=2, hidden_dim=64, vocab_size=32)),
    "electra": (transformers.ElectraConfig, SIZES | {"embedding_size": 16}),
    "mpnet": (transformers.MPNetConfig, SIZES | AFTER_PADDING),
}
# Every architecture of docs/encoders.md, by the name that its users know; those of MODELS first.
ARCHITECTURES = MODELS | {
    "albert": (transformers.AlbertConfig, SIZES | SPECIAL | {"embedding_size": 16}),
    "big_bird": (transformers.BigBirdConfig, SIZES | SPECIAL | {"sep_token_id": 3}),
    "camembert": (transformers.CamembertConfig, SIZES | AFTER_PADDING),
    "convbert": (
        transformers.ConvBertConfig,
        SIZES | SPECIAL | {"embedding_size": 16, "num_attention_heads": 4, "conv_kernel_size": 3},
    ),
    "data2vec-text": (transformers.Data2VecTextConfig, SIZES | AFTER_PADDING),
    "deberta": (transformers.DebertaConfig, SIZES | DISENTANGLED),
    "deberta-v2": (
        transformers.DebertaV2Config,
        SIZES | DISENTANGLED | BUCKETS | {"conv_kernel_size": 3, "conv_act": "gelu"},
    ),
    "deberta-v3": (transformers.DebertaV2Config, SIZES | DISENTANGLED | BUCKETS),
    "ernie": (transformers.ErnieConfig, SIZES),
    "longformer": (
        transformers.LongformerConfig,
        SIZES | AFTER_PADDING | {"attention_window": [4, 4, 8, 8], "sep_token_id": 3},
    ),
    "megatron-bert": (transformers.MegatronBertConfig, SIZES),
    "modernbert": (
        transformers.ModernBertConfig,
        SIZES | SPECIAL | {"cls_token_id": 2, "sep_token_id": 3, "local_attention": 8, "max_position_embeddings": 128},
    ),
    "rembert": (transformers.RemBertConfig, SIZES | SPECIAL | {"input_embedding_size": 16}),
    "roberta-prelayernorm": (transformers.RobertaPreLayerNormConfig, SIZES | AFTER_PADDING),
    "xlm-roberta": (transformers.XLMRobertaConfig, SIZES | AFTER_PADDING),
    "xlm-roberta-xl": (transformers.XLMRobertaXLConfig, SIZES | AFTER_PADDING),
}
REFUSED = {
    "squeezebert": (transformers.SqueezeBertConfig, SIZES | {"embedding_size": 32}),
    "funnel": (
        transformers.FunnelConfig,
        dict(vocab_size=32, block_sizes=[2, 2], d_model=32, n_head=2, d_head=16, d_inner=64),
    ),
    "mra": (transformers.MraConfig, SIZES | {"max_position_embeddings": 64}),
    "gpt2": (transformers.GPT2Config, dict(vocab_size=32, n_embd=32, n_layer=4, n_head=2, pad_token_id=0)),
}
WITH_TYPES = ("bert", "electra", "albert", "ernie", "megatron-bert", "rembert", "convbert", "big_bird")


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
    config_class, defaults = ARCHITECTURES[kind]
    torch.manual_seed(seed)
    transformers.AutoModel.from_config(config_class(**defaults | sizes)).save_pretrained(directory)
    tokenizer(types=kind in WITH_TYPES).save_pretrained(directory)
    return directory
