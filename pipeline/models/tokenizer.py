"""Tokenizers: whether one can be used, whether it can be saved, and whether two of them make the same tokens."""

import json
import tempfile
from typing import Any

from pipeline.errors import BadModel, one_line
from pipeline.system.digests import tokenizer_digest
from pipeline.system.progress import note
from pipeline.system.system_errors import refusing

UNREACHABLE_SHARE = 0.05  # of a vocabulary's words: from here on it was made for text with capitals
_PROBES = (
    "a",
    "The quick Brown FOX jumps over 1,234.50 lazy dogs; isn't it?",
    "Crème brûlée, naïve Ångström, straße, İstanbul, ﬁne ½ ① Ⅷ",
    "北京是中国的首都。 東京 서울 Москва Αθήνα القاهرة",
    "  two  blanks\tand\na line [MASK] <mask> [SEP] </s> \u200b\u00ad🙂 \U0010fffd",
)


def check_tokenizer(name: str, tokenizer: Any) -> None:
    """Raise `BadModel` unless a tokenizer is a fast one with words, padding, and inputs that begin with [CLS]."""
    if not getattr(tokenizer, "is_fast", False):
        raise BadModel(f"{name}: has no fast tokenizer (tokenizer.json). Save one with AutoTokenizer first")
    vocabulary = tokenizer.get_vocab()
    words = vocabulary.keys() - tokenizer.get_added_vocab().keys()
    if not words:  # transformers makes such a tokenizer up where there are no files of one
        raise BadModel(
            f"{name} has no tokenizer (no tokenizer.json, vocab.txt or sentencepiece model), or one without words. "
            "Save the one that the model was trained with there: tokenizer.save_pretrained(DIRECTORY)"
        )
    parts = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    if parts.get("type") == "BPE" and not parts.get("merges") and any(len(word) > 2 for word in words):
        raise BadModel(f"{name} has a vocabulary without merges (no merges.txt). Save its whole tokenizer there")

    def unreadable(error: Exception) -> BadModel:
        reason = one_line(error, 160)
        return BadModel(
            f"{name}: its tokenizer cannot read a text ({reason}). Save the one that the model was trained with there"
        )

    with refusing(unreadable):
        first, *_ = [tokenizer(text)["input_ids"][:1] for text in _PROBES]
    if tokenizer.cls_token_id is None or first != [tokenizer.cls_token_id]:
        raise BadModel(f"{name}: its inputs do not begin with a [CLS] token, so there is no [CLS] vector to distil")
    if tokenizer.pad_token_id is None:
        raise BadModel(f"{name}: its tokenizer has no padding token. Set one and save it")


def note_lower_casing(name: str, tokenizer: Any) -> None:
    """Say so if a tokenizer lower-cases text although its vocabulary has words in capitals, which it never reaches."""
    normalizer = tokenizer.backend_tokenizer.normalizer
    if normalizer is None or normalizer.normalize_str("A").strip("▁ ") != "a":
        return
    pieces = tokenizer.get_vocab().keys() - tokenizer.get_added_vocab().keys()
    words = [word for piece in pieces if (word := piece.strip("▁Ġ")).isalpha() and word.lower() != word.upper()]
    capitals = sorted(word for word in words if word != word.lower())
    if len(capitals) > UNREACHABLE_SHARE * len(words):
        note(
            f"warning: {name} lower-cases texts, but {len(capitals):,} words of its vocabulary have capitals "
            f"({one_line(', '.join(capitals[:3]), 80)}): it seems to be of a cased model. If so, set "
            '"do_lower_case": false in its tokenizer_config.json'
        )


def same_tokens(first: Any, second: Any) -> bool:
    """Return whether two tokenizers have one vocabulary and padding, and make the same token ids of texts and pairs."""
    if first.get_vocab() != second.get_vocab() or first.pad_token_id != second.pad_token_id:
        return False
    words = " ".join(sorted(first.get_vocab())[:: max(1, len(first) // 500)])
    texts = [*_PROBES, words, words.title()]
    singles = [tokenizer(texts)["input_ids"] for tokenizer in (first, second)]
    pairs = [tokenizer(texts, texts[::-1])["input_ids"] for tokenizer in (first, second)]
    return bool(singles[0] == singles[1] and pairs[0] == pairs[1])


def is_tokenizer(tokenizer: Any, digest: str) -> bool:
    """Return whether a tokenizer has this digest, or had it before it was fitted to a model without segment ids."""
    inputs = {*tokenizer.model_input_names, "token_type_ids"}
    return digest in (tokenizer_digest(tokenizer), tokenizer_digest(tokenizer, inputs))


def check_tokenizer_saves(name: str, tokenizer: Any, config: Any) -> None:
    """Raise `BadModel` unless a tokenizer, saved beside a model's configuration and loaded again, is the same."""
    from transformers import AutoTokenizer

    def unsaved(error: Exception) -> BadModel:
        return BadModel(
            f"the tokenizer of {name} cannot be saved ({one_line(error, 160)}). Save it with AutoTokenizer first, and "
            "name that directory"
        )

    with refusing(unsaved), tempfile.TemporaryDirectory() as directory:
        config.save_pretrained(directory)
        tokenizer.save_pretrained(directory)
        loaded = AutoTokenizer.from_pretrained(directory, local_files_only=True)
        if not same_tokens(tokenizer, loaded):
            raise ValueError("it makes other tokens once loaded")
