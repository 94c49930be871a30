"""Tokenizers that are missing, broken, of another case, or the same as another."""

import json

import pytest
import transformers

from pipeline.errors import BadModel
from pipeline.models.checkpoints import load_tokenizer
from pipeline.models.tokenizer import check_tokenizer_saves, is_tokenizer, note_lower_casing, same_tokens
from pipeline.system.digests import tokenizer_digest
from tests.helpers.encoders import SIZES, tokenizer
from tests.helpers.rows import WORDS

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
NONE = (
    "{0} has no tokenizer (no tokenizer.json, vocab.txt or sentencepiece model), or one without words. Save the one "
    "that the model was trained with there: tokenizer.save_pretrained(DIRECTORY)"
)


def error_of(directory) -> str:
    with pytest.raises(BadModel) as error:
        load_tokenizer(str(directory))
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("name", ["Bert", "Roberta", "XLMRoberta", "Camembert", "DebertaV2", "BigBird", "MPNet"])
def test_tokenizer_that_transformers_makes_up_is_refused(name, tmp_path):
    getattr(transformers, f"{name}Config")().save_pretrained(tmp_path)
    assert error_of(tmp_path) == NONE.format(tmp_path)


def test_empty_vocabulary_is_refused(tmp_path):
    transformers.BertConfig().save_pretrained(tmp_path)
    (tmp_path / "vocab.txt").write_text("")
    assert error_of(tmp_path) == NONE.format(tmp_path)


def test_vocabulary_without_unknown_token_is_refused(tmp_path):
    transformers.BertConfig().save_pretrained(tmp_path)
    (tmp_path / "vocab.txt").write_text("hello\nworld\n")
    assert error_of(tmp_path) == (
        f"{tmp_path}: its tokenizer cannot read a text (WordPiece error: Missing [UNK] token from the vocabulary). "
        "Save the one that the model was trained with there"
    )


def test_vocabulary_without_merges_is_refused(tmp_path):
    transformers.RobertaConfig().save_pretrained(tmp_path)
    words = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *(f"Ġ{word}" for word in WORDS)]
    (tmp_path / "vocab.json").write_text(json.dumps({word: number for number, word in enumerate(words)}))
    (tmp_path / "merges.txt").write_text("#version: 0.2\n")
    text = f"{tmp_path} has a vocabulary without merges (no merges.txt). Save its whole tokenizer there"
    assert error_of(tmp_path) == text


@pytest.mark.parametrize("content", [b"", b"null", b"{}", b'{"a":', b"\x00\xff"])
def test_broken_tokenizer_file_is_refused_in_one_line(content, tmp_path):
    transformers.BertConfig(**SIZES).save_pretrained(tmp_path)
    tokenizer().save_pretrained(tmp_path)
    (tmp_path / "tokenizer.json").write_bytes(content)
    assert error_of(tmp_path).startswith(f"{tmp_path} cannot be loaded (")


def from_vocabulary(directory, words, **options):
    directory.mkdir()
    transformers.BertConfig().save_pretrained(directory)
    (directory / "vocab.txt").write_text("\n".join([*SPECIAL, *words]) + "\n")
    return transformers.AutoTokenizer.from_pretrained(directory, **options)


def test_cased_vocabulary_of_a_lower_casing_tokenizer_is_noted(tmp_path, capsys):
    cased = [*WORDS, "Film", "Plot"]
    note_lower_casing("m", from_vocabulary(tmp_path / "uncased", [*WORDS, "北", "##s"]))
    note_lower_casing("m", from_vocabulary(tmp_path / "right", cased, do_lower_case=False))
    assert capsys.readouterr().err == ""
    note_lower_casing("m", from_vocabulary(tmp_path / "wrong", cased))
    assert capsys.readouterr().err.strip() == (
        "warning: m lower-cases texts, but 2 words of its vocabulary have capitals (Film, Plot): it seems to be of a "
        'cased model. If so, set "do_lower_case": false in its tokenizer_config.json'
    )


def test_same_tokens_whatever_inputs_are_listed():
    assert same_tokens(tokenizer(), tokenizer(types=False))
    assert tokenizer_digest(tokenizer()) != tokenizer_digest(tokenizer(types=False))


def test_other_tokens_by_vocabulary_case_or_special_tokens(tmp_path):
    plain = from_vocabulary(tmp_path / "a", [*WORDS, "Film"])
    assert not same_tokens(plain, from_vocabulary(tmp_path / "b", [*WORDS, "Plot"]))
    assert not same_tokens(plain, from_vocabulary(tmp_path / "c", [*WORDS, "Film"], do_lower_case=False))
    assert not same_tokens(plain, from_vocabulary(tmp_path / "d", [*WORDS, "Film"], pad_token="[MASK]"))


def test_fitted_tokenizer_has_the_digest_of_the_whole():
    whole = tokenizer_digest(tokenizer())
    assert is_tokenizer(tokenizer(), whole)
    assert is_tokenizer(tokenizer(types=False), whole)
    assert not is_tokenizer(tokenizer(), tokenizer_digest(tokenizer(types=False)))


def test_tokenizer_that_is_another_once_saved_is_refused():
    class Broken(transformers.PreTrainedTokenizerFast):
        def save_pretrained(self, directory):
            raise ValueError("no such class for\nit")

    broken = tokenizer()
    check_tokenizer_saves("m", broken, transformers.BertConfig(**SIZES))
    broken.__class__ = Broken
    with pytest.raises(BadModel) as error:
        check_tokenizer_saves("m", broken, transformers.BertConfig(**SIZES))
    assert str(error.value) == (
        "the tokenizer of m cannot be saved (no such class for it). Save it with AutoTokenizer first, and name that "
        "directory"
    )
