"""Thousands of mutants of a small cache, read in a process of their own, so that a crash of a library is seen.

Mutations are drawn by numpy from the number of the mutant: hypothesis would take longer to choose one than the reader
takes to refuse it. A failure is repeated with `python -m tests.helpers.mutants DIRECTORY NUMBER 1`.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pytest

from tests.helpers.paths import ROOT
from tests.helpers.sealing import seal_shard, seal_text, write_cache

BATCH = 10_000
pytestmark = pytest.mark.process


def in_soak(value: object):
    """A parameter of the long form: another one is of its kind."""
    return pytest.param(value, marks=pytest.mark.soak)


def python(*words: object) -> subprocess.CompletedProcess:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "MALLOC_ARENA_MAX": "2"}
    command = [sys.executable, *map(str, words)]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def test_every_mutant_is_a_clear_error_or_an_equal_result(tmp_path, counts, record):
    write_cache(tmp_path / "arrow", "arrow", {"train": 7, "dev": 3}, 4)
    write_cache(tmp_path / "hdf5", "hdf5", {"train": 4}, 4)
    count, seen, failures, started = counts(1_000, 50_000), {}, [], time.monotonic()
    for first in range(0, count, BATCH):
        done = python("-m", "tests.helpers.mutants", tmp_path, first, min(BATCH, count - first))
        at = (tmp_path / "at").read_text() if (tmp_path / "at").is_file() else "the start"
        assert done.returncode == 0, f"mutant {at} ended the process: {done.returncode} {done.stderr[-2000:]}"
        result = json.loads(done.stdout.splitlines()[-1])
        failures += result["failures"]
        for name, number in result["seen"].items():
            seen[name] = seen.get(name, 0) + number
    assert not failures, "\n".join(failures)
    assert sum(seen.values()) == count
    assert {name.rpartition(": ")[2] for name in seen} == {"refused", "equal", "sound"}
    record("mutations", count=count, seconds=round(time.monotonic() - started, 1), **seen)


READ = """
import json, sys
from pathlib import Path
from tests.helpers.mutants import Mutants, peak
from tests.helpers.reading import check_everything
from pipeline.cache.open import open_cache
from pipeline.errors import BadCache

def read(cache):
    try:
        opened = open_cache(cache, cache.parent / "store")
        for split in opened.splits.values():
            for shard in split.shards:
                for name in shard:
                    shard[name]
        check_everything(opened)
    except BadCache as error:
        return str(error)
    return "read"

cache, small = map(Path, sys.argv[1:])
assert read(small) == "read"  # libraries are imported
print(json.dumps(peak(lambda: read(cache))))
"""


def growth(cache: Path, small: Path, file: str) -> tuple[str, float]:
    """What comes of reading a cache, and by how many times the size of a file of it the process grows."""
    done = python("-c", READ, cache, small)
    assert done.returncode == 0, done.stderr[-2000:]
    result, grown = json.loads(done.stdout.splitlines()[-1])
    return result, grown / (cache / file).stat().st_size


@pytest.fixture(params=["arrow", pytest.param("hdf5", marks=pytest.mark.soak)])
def large(request, tmp_path) -> tuple[Path, Path, str]:
    """A cache with a shard of 30 MB, a small one, and the name of the shard."""
    write_cache(tmp_path / "large", request.param, {"train": 10_000}, 10_000, hidden=700)
    write_cache(tmp_path / "small", request.param, {"train": 4}, 4)
    return tmp_path / "large", tmp_path / "small", f"train/00000.{'h5' if request.param == 'hdf5' else 'arrow'}"


def test_reading_takes_less_than_twice_the_file(large, record):
    cache, small, file = large
    result, times = growth(cache, small, file)
    assert result == "read" and times < 2
    with (cache / file).open("r+b") as shard:
        shard.seek(-5000, os.SEEK_END)
        shard.write(b"x")
    result, damaged = growth(cache, small, file)
    assert "are not those of the manifest" in result and damaged < 2
    record(f"memory of a reader, {file.rpartition('.')[2]}", of_the_file=round(times, 2), damaged=round(damaged, 2))


def arrow_metadata(path: Path) -> None:
    """A footer as large as the file was."""
    with path.open("rb") as file:
        batch = pa.ipc.open_file(file.read()).get_batch(0)
    schema = batch.schema.with_metadata({"a": "b" * (30 * 2**20)})
    with pa.ipc.new_file(path, schema) as writer:
        writer.write_batch(batch.replace_schema_metadata(schema.metadata))


def arrow_columns(path: Path) -> None:
    """A footer of many columns."""
    schema = pa.schema([(f"c{number}", pa.int8()) for number in range(300_000)])
    with pa.ipc.new_file(path, schema):
        pass


def hdf5_links(path: Path) -> None:
    """A group of many links."""
    with h5py.File(path, "a", libver="v110") as file:
        for number in range(200_000):
            file.id.links.create_soft(b"%d" % number, b"/label")


def hdf5_attribute(path: Path) -> None:
    with h5py.File(path, "a", libver="v110") as file:
        file.attrs["a"] = np.zeros(2**21)
        file["label"].attrs["a"] = np.zeros(2**21)


@pytest.mark.parametrize("make", [arrow_metadata, in_soak(arrow_columns), in_soak(hdf5_links), hdf5_attribute])
def test_a_file_of_nothing_but_metadata(tmp_path, make):
    container = make.__name__.partition("_")[0]
    for name in ("large", "small"):
        write_cache(tmp_path / name, container, {"train": 4}, 4)
    file = f"train/00000.{'h5' if container == 'hdf5' else 'arrow'}"
    make(tmp_path / "large" / file)
    seal_shard(tmp_path / "large", file, moved=make is hdf5_attribute)
    result, times = growth(tmp_path / "large", tmp_path / "small", file)
    assert times < 2 and (result == "read" if make is hdf5_attribute else " is damaged (" in result)


FILL = {
    "brackets": "[" + "[]," * 3_000_000 + "[]]",
    "objects": "[" + "{}," * 3_000_000 + "{}]",
    "short texts": "[" + '"ab",' * 3_000_000 + '""]',
    "numbers": "[" + "1.5," * 3_000_000 + "1]",
    "one text": '"' + "a" * 16_000_000 + '"',
}


@pytest.mark.parametrize("name", [name if name in ("brackets", "one text") else in_soak(name) for name in FILL])
def test_a_manifest_that_would_unfold(tmp_path, name):
    for place in ("large", "small"):
        write_cache(tmp_path / place, "arrow", {"train": 4}, 4)
    text = (tmp_path / "large/manifest.json").read_text().rpartition(',\n "digest": "')[0]
    seal_text(tmp_path / "large", text.replace('"made": {', f'"made": {{"x": {FILL[name]},'))
    result, times = growth(tmp_path / "large", tmp_path / "small", "manifest.json")
    if name == "one text":  # it is read: its bytes, its text, and the value
        assert result == "read" and times < 4
    else:
        assert "it contains too many values for its size" in result and times < 2


def test_a_manifest_as_dense_as_is_let_through(tmp_path, record):
    """Parsed JSON takes more than its text: this is the most, of at most 64 MB; an honest one takes four times it."""
    for place in ("large", "small"):
        write_cache(tmp_path / place, "arrow", {"train": 4}, 4)
    text = (tmp_path / "large/manifest.json").read_text().rpartition(',\n "digest": "')[0]
    objects = ", ".join(f'{{"{number:07d}": "{"a" * 115}"}}' for number in range(160_000))
    seal_text(tmp_path / "large", text.replace('"made": {', f'"made": {{"x": [{objects}],'))
    result, times = growth(tmp_path / "large", tmp_path / "small", "manifest.json")
    record("memory of a manifest", of_the_file=round(times, 2))
    assert result == "read" and times < 6
