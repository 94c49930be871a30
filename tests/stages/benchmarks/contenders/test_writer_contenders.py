"""Writers that are compared write the same rows."""

from pathlib import Path

import numpy as np
import pytest
import transformers

from pipeline.cache.format.containers import CONTAINERS
from pipeline.cache.writer import CacheWriter
from pipeline.system.digests import bytes_digest, file_digest
from stages.benchmarks import cache
from stages.benchmarks.contenders import writer_contenders
from stages.benchmarks.harness.synthetic import RandomColumns, types_of

ROWS = 150  # two full batches, and one of the rest


def shape() -> cache.TeacherShard:
    config = transformers.BertConfig(
        **dict(hidden_size=32, num_hidden_layers=3, num_attention_heads=2, intermediate_size=64, vocab_size=1100),
        num_labels=3,
    )
    return cache.TeacherShard(config, np.random.default_rng(0).integers(3, 30, ROWS), "cpu", "float32")


def columns_and_types(shard: cache.TeacherShard):
    columns = RandomColumns(shard.config, shard.lengths, shard.layers, ROWS).rows(0, ROWS)
    return columns, types_of(shard.config, shard.layers)


@pytest.mark.parametrize("name", ["arrow", "hdf5"])
def test_written_shard_has_the_digests_of_its_file(tmp_path, name):
    columns, types = columns_and_types(shape())
    assert writer_contenders.write_one(tmp_path / "cache", name, columns, types) > 0
    record = CacheWriter(tmp_path / "cache", None, name).written("train", 0)
    data = (tmp_path / "cache" / record.file).read_bytes()
    assert record.file.endswith(CONTAINERS[name].suffix) and record.bytes == len(data)
    assert record.sha256 == file_digest(tmp_path / "cache" / record.file)
    for extent in record.parts.values():
        assert bytes_digest(data[extent.offset : extent.offset + extent.bytes]) == extent.sha256
    assert {part.partition("/")[0] for part in record.parts} == set(types)


@pytest.mark.parametrize("one_array", [False, True])
def test_datasets_writes_the_same_rows(tmp_path, one_array):
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


def test_each_turn_of_datasets_writes_again(monkeypatch, tmp_path):
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
