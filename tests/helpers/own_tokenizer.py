"""An encoder with a tokenizer that shares no token id with the one of the tiny teacher."""

from pathlib import Path

import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from tests.helpers.encoders import save_pretrained_encoder
from tests.helpers.rows import WORDS

PAD = 29


def own_tokenizer(words=WORDS) -> transformers.PreTrainedTokenizerFast:
    """A word-level tokenizer with other numbers, segment ids, and the padding at the end of its vocabulary."""
    vocab = {word: number for number, word in enumerate(["<s>", "</s>", "<unk>", *sorted(words, reverse=True)])}
    vocab["<pad>"] = PAD
    backend = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="<pad>",
        unk_token="<unk>",
        cls_token="<s>",
        sep_token="</s>",
        model_input_names=["input_ids", "attention_mask"],
        model_max_length=64,
    )


def save_foreign_encoder(directory: Path, words=WORDS, **sizes) -> Path:
    """A hub-style directory of a random BERT with the tokenizer above."""
    save_pretrained_encoder(directory, **sizes)
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        (directory / name).unlink(missing_ok=True)
    own_tokenizer(words).save_pretrained(directory)
    return directory
