"""Whether a student reads the teacher's tokens or those of a tokenizer of its own."""

from typing import Any

from pipeline.cache.reader import Cache
from pipeline.cache.student_tokens import OwnTokens, retokenized
from pipeline.cache.token_store import TokenStore
from pipeline.config.rows import default_length
from pipeline.config.training import TrainStudentConfig
from pipeline.distillation.initial_layers import RANDOM, TEACHER
from pipeline.errors import BadOption
from pipeline.models.checkpoints import load_skeleton, load_tokenizer, locate
from pipeline.models.inputs import fit_tokenizer, position_limit, segments_made
from pipeline.models.tokenizer import check_tokenizer_saves, same_tokens
from pipeline.system.progress import note


def with_tokens_for(config: TrainStudentConfig, cache: Cache) -> Cache:
    """Return the cache with the tokens that a student reads.

    They are made of the texts of the cache where the checkpoint of --init has another tokenizer than the teacher.
    Raises `BadCache` for a cache without texts then, `BadModel` for a tokenizer that cannot be used.
    """
    manifest = cache.manifest
    if config.init == RANDOM and not manifest.has_teacher:
        raise BadOption(
            f"--init random reads the teacher's tokens, and {cache.location} has none: its targets were made "
            "elsewhere. Name a checkpoint: --init MODEL"
        )
    if config.init in (TEACHER, RANDOM):
        return cache
    name = locate(config.init)
    tokenizer = load_tokenizer(name)
    if manifest.has_teacher and same_tokens(tokenizer, cache.tokens.tokenizer):
        return cache
    skeleton: Any = load_skeleton(name)
    fit_tokenizer(name, tokenizer, skeleton, manifest.texts_per_input)
    check_tokenizer_saves(name, tokenizer, skeleton.config)
    wanted = manifest.fields.max_length or default_length(manifest.fields.sequences > 1)
    length = min(wanted, position_limit(skeleton), tokenizer.model_max_length)
    if length < wanted:
        note(f"--init {config.init} takes {length} tokens at most: texts are cut there, and not at {wanted}")
    return with_own_tokens(cache, tokenizer, length, TokenStore.of_user(config.store, config.store_bytes))


def with_own_tokens(cache: Cache, tokenizer: Any, max_length: int, store: TokenStore) -> Cache:
    """Return the cache with the tokens that a tokenizer makes of its texts. Raises `BadCache` for one without texts."""
    segments = segments_made(tokenizer, cache.manifest.texts_per_input)
    return retokenized(cache, OwnTokens(tokenizer, max_length, segments, store))
