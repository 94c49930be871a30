"""Many processes on one cache: each maps the files for itself, and all of them share one copy in memory."""

import multiprocessing
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from pipeline.cache.open import open_cache
from pipeline.data.batching import collate
from pipeline.data.ragged import Ragged
from pipeline.data.splits import Split
from tests.helpers.paths import ROOT
from tests.helpers.sealing import write_cache

both = pytest.mark.parametrize("container", ["arrow", "hdf5"])
both_in_soak = pytest.mark.parametrize("container", ["arrow", pytest.param("hdf5", marks=pytest.mark.soak)])


class Rows(Dataset):
    """A data set that holds the split of an open cache."""

    def __init__(self, split: Split):
        self.split = split

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, place: int) -> tuple:
        ids = np.array([place])
        tokens = self.split.rows(ids).ragged("input_ids")[0]
        return (
            os.getpid(),
            tokens.tolist(),
            *(self.split.gather(name, ids)[0].tolist() for name in ("logits", "cls_02")),
        )


def first(items: list) -> object:
    return items[0]


@pytest.mark.process
@both_in_soak
@pytest.mark.parametrize(
    ("start", "used"),
    [("fork", False), ("fork", True), pytest.param("spawn", False, marks=pytest.mark.soak), ("spawn", True)],
    ids=["fork-fresh", "fork-used", "spawn-fresh", "spawn-used"],
)
def test_loader_workers_give_the_rows_of_the_parent(tmp_path, container, start, used):
    write_cache(tmp_path / "cache", container, {"train": 50, "dev": 3}, 16)
    rows = Rows(open_cache(tmp_path / "cache").splits["train"])
    expected = [Rows(open_cache(tmp_path / "cache").splits["train"])[place][1:] for place in range(50)]
    if used:  # the workers inherit what the parent has mapped
        assert [rows[place][1:] for place in range(50)] == expected
    loader = DataLoader(rows, num_workers=2, collate_fn=first, multiprocessing_context=start)
    for _ in range(2 if start == "fork" else 1):
        found = list(loader)
        assert [row[1:] for row in found] == expected
        assert os.getpid() not in {row[0] for row in found} and len({row[0] for row in found}) == 2
    assert [rows[place][1:] for place in range(50)] == expected  # and the parent goes on


@both
def test_a_pickle_holds_no_data(tmp_path, container):
    write_cache(tmp_path / "cache", container, {"train": 4000}, 1000, hidden=64)
    cache = open_cache(tmp_path / "cache")
    split = cache.splits["train"]
    before = pickle.dumps(split)
    for shard in split.shards:
        for name in shard:
            shard[name]
    split.lengths, split.labels  # noqa: B018
    after = pickle.dumps(split)
    assert cache.manifest.bytes > 1_000_000 and len(before) < 50_000 and len(after) < 150_000
    assert len(pickle.dumps(cache.splits["train"].shards)) < 50_000
    copy = pickle.loads(after)
    ids = np.arange(4000)
    assert np.array_equal(copy.gather("cls_01", ids), split.gather("cls_01", ids))


def read_forked(split: Split, ids: np.ndarray, queue: multiprocessing.Queue) -> None:
    queue.put((split.gather("cls_01", ids).tobytes(), collate(split, ids, 0).inputs["input_ids"].tolist()))


@pytest.mark.process
@both
def test_forks_at_any_moment(tmp_path, container):
    """Before the first use, after the use of one column, and from a fork of a fork: no handle is shared."""
    write_cache(tmp_path / "cache", container, {"train": 50}, 16)
    fork = multiprocessing.get_context("fork")
    split, ids = open_cache(tmp_path / "cache").splits["train"], np.arange(49, -1, -1)
    whole = open_cache(tmp_path / "cache").splits["train"]
    expected = whole.gather("cls_01", ids).tobytes(), collate(whole, ids, 0).inputs["input_ids"].tolist()
    for _ in range(3):
        queue = fork.Queue()
        children = [fork.Process(target=read_forked, args=(split, ids, queue)) for _ in range(4)]
        for child in children:
            child.start()
        assert [queue.get(timeout=60) for _ in children] == [expected] * 4
        for child in children:
            child.join()
            assert child.exitcode == 0
        split.shards[0]["cls_01"], split.labels
    assert split.gather("cls_01", ids).tobytes() == expected[0]


READER = """
import sys
from pathlib import Path
from pipeline.cache.open import open_cache
from pipeline.data.ragged import Ragged
from tests.helpers.reading import check_everything

cache = open_cache(sys.argv[1], Path(sys.argv[2]))
total = 0.0
for split in cache.splits.values():
    for shard in split.shards:
        for column in shard.values():
            for array in (column.values, column.offsets) if isinstance(column, Ragged) else (column,):
                total += float(array.sum(dtype="float64"))
check_everything(cache)
print(total, flush=True)
sys.stdin.readline()
"""


def shares(process: int, directory: Path) -> dict[str, int]:
    """Bytes of the mapped files of a directory that a process has: Rss, Pss (its share), and its private pages."""
    found = dict.fromkeys(("Rss", "Pss", "Private_Clean", "Private_Dirty"), 0)
    inside = False
    for line in Path(f"/proc/{process}/smaps").read_text().splitlines():
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            inside = f" {directory}/" in line
        elif inside and (name := line.partition(":")[0]) in found:
            found[name] += int(line.split()[1]) * 1024
    return found


@pytest.mark.process
@both_in_soak
def test_readers_share_one_copy(tmp_path, container, counts, record):
    number = counts(3, 8)
    manifest = write_cache(tmp_path / "cache", container, {"train": 20_000, "dev": 500}, 8192, hidden=400)
    assert manifest.bytes > 30_000_000
    command = [sys.executable, "-c", READER, str(tmp_path / "cache"), str(tmp_path / "store")]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    readers = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True)
        for _ in range(number)
    ]
    try:
        totals = {reader.stdout.readline() for reader in readers}  # type: ignore[union-attr]
        seen = [shares(reader.pid, tmp_path / "cache") for reader in readers]
    finally:
        for reader in readers:
            reader.communicate("\n", timeout=60)
    assert len(totals) == 1 and float(totals.pop())
    sums = {name: sum(one[name] for one in seen) for name in seen[0]}
    assert sums["Rss"] > 0.95 * number * manifest.bytes  # each reads all of it
    assert sums["Pss"] <= 1.2 * manifest.bytes  # and together they hold it once
    assert sums["Private_Dirty"] == 0
    record(f"memory of {number} readers, {container}", bytes_of_the_cache=manifest.bytes, **sums)


def test_columns_cannot_be_written_through(tmp_path):
    write_cache(tmp_path / "cache", "arrow", {"train": 4}, 4)
    for column in open_cache(tmp_path / "cache").splits["train"].shards[0].values():
        array = column.values if isinstance(column, Ragged) else column
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
        with pytest.raises(ValueError):
            array.flags.writeable = True
    assert torch.from_numpy(open_cache(tmp_path / "cache").splits["train"].gather("logits", np.arange(4))).sum() > 0
