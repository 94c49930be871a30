"""The inputs that a model takes (token ids, segment ids, positions), and a tokenizer that makes these and no others.

What a model takes is read from its modules, whatever its type is called.
"""

import inspect
from collections.abc import Iterator
from typing import Any

from torch import nn

from pipeline.config.rows import SHORTEST_INPUT
from pipeline.errors import BadModel, BadOption, one_line
from pipeline.models.tokenizer import note_lower_casing

SEGMENTS = "token_type_ids"
_UNSET = 10**6  # tokenizers without a limit carry a huge number


def fit_tokenizer(name: str, tokenizer: Any, model: Any, texts: int) -> None:
    """Let a tokenizer of `texts` texts per row make what the model of the checkpoint `name` takes.

    Where it makes segment ids that the model has no rows for, it stops making any, in its saved copies too. Raises
    `BadModel` for token ids that the model has no embeddings for.
    """
    check_vocabulary(name, tokenizer, model)
    if segments_made(tokenizer, texts) > segment_rows(model):
        tokenizer.model_input_names = [entry for entry in tokenizer.model_input_names if entry != SEGMENTS]
        tokenizer.init_kwargs["model_input_names"] = tokenizer.model_input_names  # from which it is saved
    note_lower_casing(name, tokenizer)


def check_vocabulary(name: str, tokenizer: Any, model: Any) -> None:
    """Raise `BadModel` if a token of the tokenizer is outside the embeddings of the model of checkpoint `name`."""
    vocabulary = dict(tokenizer.get_vocab())
    for token in tokenizer("a", "a")["input_ids"]:  # the ids that it adds, which may be written in it as numbers
        vocabulary.setdefault(tokenizer.convert_ids_to_tokens(token), token)
    rows = model.get_input_embeddings().weight.shape[0]
    token, largest = max(vocabulary.items(), key=lambda item: item[1])
    if largest >= rows:
        raise BadModel(
            f"{name} has {rows} token embeddings, and its tokenizer has token ids up to {largest} "
            f"({one_line(token, 40)!r}). Save the model's own tokenizer there, or call "
            f"model.resize_token_embeddings({largest + 1}) and save the model again"
        )


def segments_made(tokenizer: Any, texts: int) -> int:
    """Return the number of different segment ids that a row of `texts` texts can have; 0 for a tokenizer without."""
    if SEGMENTS not in tokenizer.model_input_names:
        return 0
    encoded = tokenizer(*["a"] * min(texts, 2), return_token_type_ids=True)
    return 1 + max(encoded[SEGMENTS])


def segment_rows(model: Any) -> int:
    """Return the number of segments that a model has embeddings for; 0 if it does not take segment ids."""
    encoder = getattr(model, model.base_model_prefix, model)
    if any(SEGMENTS not in inspect.signature(type(part).forward).parameters for part in (model, encoder)):
        return 0
    return min((table.weight.shape[0] for table in _tables(model, "token_type")), default=0)


def leave_out_segments(model: nn.Module, segments: int) -> None:
    """Let a model ignore the segment ids of its inputs if it has embeddings for fewer than `segments`."""
    if segment_rows(model) < segments:
        model.register_forward_pre_hook(_without_segments, with_kwargs=True)


def _without_segments(_model: nn.Module, args: Any, inputs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    return args, {name: value for name, value in inputs.items() if name != SEGMENTS}


def position_limit(model: Any) -> int:
    """Return the length in tokens of the longest input that a model has positions for.

    It is huge for a model whose positions are relative. Position ids begin behind the padding index where the table of
    positions has one, as in RoBERTa. Beyond it, attention to random blocks of the text is not supported.
    """
    limits = [
        table.weight.shape[0] - (0 if table.padding_idx is None else table.padding_idx + 1)
        for table in _tables(model, "position")
    ]
    if getattr(model.config, "attention_type", None) == "block_sparse":  # BigBird: to this length it attends to all
        limits.append((5 + 2 * model.config.num_random_blocks) * model.config.block_size)
    return min([*limits, getattr(model.config, "max_position_embeddings", _UNSET)]) if limits else _UNSET


def check_max_length(max_length: int, tokenizer: Any, model: Any) -> None:
    """Raise `BadOption` for inputs longer than the model has positions for, `BadModel` if it has almost none."""
    limit = min(position_limit(model), tokenizer.model_max_length)
    if limit < SHORTEST_INPUT:
        raise BadModel(
            f"{model.config.model_type}: this model, or its tokenizer (model_max_length), takes {limit} tokens at "
            f"most, and an input can have {SHORTEST_INPUT}. Use another model"
        )
    if limit < _UNSET and max_length > limit:
        sparse = getattr(model.config, "attention_type", None) == "block_sparse"
        more = '; for more, set "attention_type": "original_full" in its config.json' if sparse else ""
        raise BadOption(
            f"--max-length {max_length}: this model takes {limit} tokens at most. Try --max-length {limit}{more}"
        )


def _tables(model: nn.Module, word: str) -> Iterator[Any]:
    """Yield the embeddings whose name has this word in it."""
    for name, module in model.named_modules():
        if word in name.rpartition(".")[2] and hasattr(module, "padding_idx") and hasattr(module, "weight"):
            yield module
