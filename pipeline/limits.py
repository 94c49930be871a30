"""What a model can take in."""

from typing import Any

from pipeline.errors import BadOption

_UNSET = 10**6  # tokenizers without a limit carry a huge number


def check_max_length(max_length: int, tokenizer: Any, config: Any) -> None:
    """Raises `BadOption` for inputs longer than the model has positions for."""
    positions = getattr(config, "max_position_embeddings", _UNSET)
    if config.model_type in ("roberta", "xlm-roberta", "camembert", "mpnet"):
        positions -= 2  # position ids start behind the padding index
    limit = min(positions, tokenizer.model_max_length)
    if limit < _UNSET and max_length > limit:
        raise BadOption(f"--max-length {max_length}: this model takes {limit} tokens at most. Try --max-length {limit}")
