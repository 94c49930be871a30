"""Contenders of benchmark `cache` compute the same batches."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import transformers

from pipeline.cache.format.manifest import SplitRecord
from pipeline.cache.shard_sources import LocalSource
from pipeline.cache.shards import Shard
from pipeline.cache.writer import CacheWriter
from pipeline.config.benchmark import BenchmarkConfig
from pipeline.data.batching import by_length
from pipeline.data.splits import Split
from pipeline.errors import BadOption
from pipeline.models.accelerator import make_accelerator
from pipeline.models.encoders import cls_vectors
from pipeline.teacher.forward import teacher_pass
from stages.benchmarks import cache

ROWS = 150  # two full batches, and one of the rest


def shape() -> cache.TeacherShard:
    config = transformers.BertConfig(
        **dict(hidden_size=32, num_hidden_layers=3, num_attention_heads=2, intermediate_size=64, vocab_size=1100),
        num_labels=3,
    )
    return cache.TeacherShard(config, np.random.default_rng(0).integers(3, 30, ROWS), "cpu", "float32")


def test_cached_shards_hold_the_teachers_output(tmp_path):
    chosen = shape()
    model, accelerator = chosen.model(), make_accelerator("float32", "cpu")
    with teacher_pass(model, accelerator, chosen.manifest, 2) as running:
        examples, seconds = cache.cache_shards(chosen, running, tmp_path / "cache", 2)
    assert examples == 2 * ROWS and seconds > 0
    writer = CacheWriter(tmp_path / "cache", chosen.manifest.fields, "arrow")
    records = [writer.written("train", index) for index in range(2)]
    assert all(record is not None and record.rows == ROWS for record in records)
    made = replace(chosen.manifest, splits={"train": SplitRecord(True, tuple(records))})
    source = LocalSource(tmp_path / "cache")
    stored = Split("train", [Shard(source, made, "train", 0)], True)
    plain = chosen.model()
    places = by_length(np.arange(ROWS), chosen.lengths, 64)
    for batch, ids in zip(chosen.batches, places, strict=True):
        with torch.inference_mode(), cls_vectors(plain, chosen.layers) as read:
            logits = plain(**batch.inputs).logits
        np.testing.assert_allclose(stored.gather("logits", ids), logits, atol=1e-5)
        for layer, vectors in zip(chosen.layers, read, strict=True):
            np.testing.assert_allclose(stored.gather(f"cls_{layer:02d}", ids), vectors, atol=4e-3)


def batches_seen(monkeypatch, run) -> list[bytes]:
    """The token ids of each batch that runs through an encoder, in the order of their bytes."""
    seen, forward = [], transformers.BertModel.forward

    def noting(self, *positional, **named):
        seen.append(named.get("input_ids", positional[0] if positional else None).numpy().tobytes())
        return forward(self, *positional, **named)

    monkeypatch.setattr(transformers.BertModel, "forward", noting)
    ((examples, seconds),) = run(2).values()
    assert examples == 2 * ROWS and seconds > 0
    return sorted(seen)


@pytest.mark.parametrize("contender", [cache.bare_forward, cache.plain_torch])
def test_contenders_run_the_same_batches(monkeypatch, tmp_path, contender):
    threads = torch.get_num_threads()
    ours = batches_seen(monkeypatch, cache.caching(shape(), str(tmp_path)))
    monkeypatch.undo()
    assert batches_seen(monkeypatch, contender(shape())) == ours and len(ours) == 2 * 3
    assert torch.get_num_threads() == threads


def test_missing_lengths_file_is_refused():
    with pytest.raises(BadOption, match=r"^--lengths missing\.txt is not a file\. Try --lengths mnli$"):
        cache.shard_of(BenchmarkConfig(name="cache", model="base", lengths="missing.txt", device="cpu"))
