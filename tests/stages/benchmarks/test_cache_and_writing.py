"""The contenders of `benchmark cache` do what they are named for: the same batches, the same rows, whole shards."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from pipeline.cache.format.containers import container
from pipeline.cache.format.manifest import SplitRecord
from pipeline.cache.shards import LocalSource, Shard
from pipeline.cache.writer import CacheWriter
from pipeline.config.benchmark import BenchmarkConfig
from pipeline.data.batching import by_length
from pipeline.data.splits import Split
from pipeline.errors import BadOption
from pipeline.models.accelerator import make_accelerator
from pipeline.models.encoders import cls_vectors
from pipeline.system.digests import bytes_digest, file_digest
from pipeline.teacher.forward import teacher_pass
from stages.benchmarks import cache
from stages.benchmarks.contenders import writer_contenders
from stages.benchmarks.harness.synthetic import RandomColumns, types_of

ROWS = 150  # two full batches, and one of the rest


def shape() -> cache.Shape:
    config = transformers.BertConfig(
        **dict(hidden_size=32, num_hidden_layers=3, num_attention_heads=2, intermediate_size=64, vocab_size=1100),
        num_labels=3,
    )
    return cache.Shape(config, np.random.default_rng(0).integers(3, 30, ROWS), "cpu", "float32")


def columns_and_types(of: cache.Shape):
    columns = RandomColumns(of.config, of.lengths, of.layers, ROWS).rows(0, ROWS)
    return columns, types_of(of.config, of.layers)


def test_what_is_cached_is_the_teachers_output(tmp_path):
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
def test_all_run_the_same_batches(monkeypatch, tmp_path, contender):
    threads = torch.get_num_threads()
    ours = batches_seen(monkeypatch, cache.caching(shape(), str(tmp_path)))
    monkeypatch.undo()
    assert batches_seen(monkeypatch, contender(shape())) == ours and len(ours) == 2 * 3
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize("name", ["arrow", "hdf5"])
def test_a_shard_is_written_and_its_digests_are_those_of_the_file(tmp_path, name):
    columns, types = columns_and_types(shape())
    assert writer_contenders.write_one(tmp_path / "cache", name, columns, types) > 0
    record = CacheWriter(tmp_path / "cache", {}, name).written("train", 0)
    data = (tmp_path / "cache" / record.file).read_bytes()
    assert record.file.endswith(container(name).SUFFIX) and record.bytes == len(data)
    assert record.sha256 == file_digest(tmp_path / "cache" / record.file)
    for extent in record.parts.values():
        assert bytes_digest(data[extent.offset : extent.offset + extent.bytes]) == extent.sha256
    assert {part.partition("/")[0] for part in record.parts} == set(types)


@pytest.mark.parametrize("one_array", [False, True])
def test_the_rows_of_datasets_are_ours(tmp_path, one_array):
    chosen = shape()
    columns, _ = columns_and_types(chosen)
    rows = writer_contenders.rows_of(columns, chosen.layers, one_array)
    made = writer_contenders.dataset_of(
        rows, writer_contenders.features_of(chosen.config, chosen.layers, one_array), tmp_path
    )
    assert len(made) == ROWS and all(tmp_path in path.parents for path in map(Path, files(made)))
    for row in (0, 77, ROWS - 1):
        theirs, hashed = made.with_format("numpy")[row], made[row]["row_hash"]
        assert hashed == columns["row_hash"][row].tobytes()
        for place, layer in enumerate(chosen.layers):
            vector = theirs["cls"][place] if one_array else theirs[f"cls_{layer:02d}"]
            assert np.array_equal(np.asarray(vector, np.float16), columns[f"cls_{layer:02d}"][row])
        for name in ("example_id", "input_ids", "token_type_ids", "label", "logits"):
            assert np.array_equal(theirs[name], columns[name][row])


def files(dataset) -> list[str]:
    return [file["filename"] for file in dataset.cache_files]


def test_each_turn_of_datasets_writes_anew(monkeypatch, tmp_path):
    """Its own disk cache would answer the second time."""
    drawn, made = [], writer_contenders.rows_of

    class Counted(list):
        def __iter__(self):
            drawn.append(len(self))
            return super().__iter__()

    monkeypatch.setattr(writer_contenders, "rows_of", lambda *arguments: Counted(made(*arguments)))
    chosen = shape()
    run = writer_contenders.from_generator(
        writer_contenders.DECLARED, str(tmp_path), chosen.config, chosen.lengths, chosen.layers
    )
    assert run(2)[writer_contenders.DECLARED][0] == 2 * ROWS
    assert drawn == [ROWS, ROWS]


def test_shards_of_both_containers_are_timed(tmp_path):
    chosen = shape()
    found = writer_contenders.shards(str(tmp_path), chosen.config, chosen.lengths, chosen.layers)(2)
    assert [done for done, _ in found.values()] == [2 * ROWS, 2 * ROWS]
    assert set(found) == set(writer_contenders.OURS.values())


def test_lengths_that_cannot_be_read_are_refused():
    with pytest.raises(BadOption, match=r"^--lengths missing\.txt is no file\. Try --lengths mnli$"):
        cache.shape_of(BenchmarkConfig(name="cache", model="base", lengths="missing.txt", device="cpu"))
