import shutil

import pytest

from pipeline.cache.leftovers import find_leftovers, remove_leftover, size_of
from pipeline.cache.open import open_cache
from pipeline.cache.writer import CacheWriter
from pipeline.system.lease import Lease


@pytest.fixture
def begun(tiny, tmp_path):
    """A cache in the making of which train/00000.arrow lies there without a record."""
    source = open_cache(tiny.arrow)
    writer = CacheWriter(tmp_path / "cache", source.manifest.fields, "arrow")
    writer.start()
    (writer.directory / "train").mkdir()
    shutil.copyfile(tiny.arrow / "train" / "00000.arrow", writer.directory / "train" / "00000.arrow")
    yield source, writer
    writer.close()


def test_a_shard_that_is_taken_or_finished_meanwhile_stays(begun):
    source, writer = begun
    (leftover,) = find_leftovers(writer.directory).leftovers
    claim = writer.claim("train", 0)
    claim.acquire()
    assert not remove_leftover(leftover)
    shard = source.splits["train"].shards[0]
    writer.write_shard("train", 0, dict(shard), source.manifest.column_types())
    claim.release()
    assert not remove_leftover(leftover)
    assert writer.written("train", 0) == shard.record
    assert find_leftovers(writer.directory).leftovers == ()
    assert not list(writer.directory.glob(".partial/*.lease"))


def test_one_that_nobody_took_goes(begun):
    _, writer = begun
    (leftover,) = find_leftovers(writer.directory).leftovers
    assert leftover.path == writer.directory / "train" / "00000.arrow"
    assert remove_leftover(leftover) and not leftover.path.exists()
    assert isinstance(leftover.claim, Lease) and not leftover.claim.path.exists()


def test_sizes_do_not_follow_links(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "file").write_text("12345")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "link").symlink_to(tmp_path / "a")
    assert size_of(tmp_path / "a") == 5
    assert size_of(tmp_path / "b") == len(str(tmp_path / "a"))
