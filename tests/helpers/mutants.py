"""Mutants of a small cache, opened and read one after the other in a process of its own.

`python mutants.py DIRECTORY FIRST COUNT` reads mutants FIRST to FIRST + COUNT - 1 of the caches DIRECTORY/arrow and
DIRECTORY/hdf5. What a mutant is depends on its number alone. The number goes to DIRECTORY/at before it is opened, so
that one that kills the process is known; the last line of stdout is a JSON object with what was seen.
"""

import contextlib
import json
import resource
import shutil
import signal
import struct
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np

from pipeline.cache.open import open_cache
from pipeline.cache.reader import Cache
from pipeline.cache.shards import Shard
from pipeline.data.ragged import Ragged
from pipeline.errors import BadCache
from tests.helpers.reading import check_everything
from tests.helpers.sealing import seal, seal_shard, seal_splits

T = TypeVar("T")
SLACK = 2**20  # bytes by which a process grows whatever it reads: arenas of allocators
NUMBERS = [0, 1, -1, 2, 7, 8, 63, 64, 127, 128, 255, 2**15, 2**16, 2**31 - 1, 2**31, 2**32, 2**40, 2**62, 2**63 - 1]
ODD = [
    *NUMBERS,
    -(2**63),
    2**63,
    10**30,
    1.5,
    True,
    None,
    "",
    "a",
    "../..",
    "/etc/passwd",
    "\n",
    [],
    {},
    [[]],
    "f" * 64,
]


# -- bytes ------------------------------------------------------------------------------------------------------------
def flip(draw: np.random.Generator, data: bytearray) -> bytearray:
    for place in draw.integers(0, len(data), draw.integers(1, 9)):
        data[place] ^= 1 << draw.integers(8)
    return data


def number(draw: np.random.Generator, data: bytearray) -> bytearray:
    """An int32 or int64 of note in a place that numbers begin at."""
    form = str(draw.choice(["<i", "<q"]))
    value = NUMBERS[draw.integers(len(NUMBERS))]
    place = 4 * int(draw.integers(0, len(data) // 4 - 2))
    bits = 8 * struct.calcsize(form)
    data[place : place + bits // 8] = (value % 2**bits).to_bytes(bits // 8, "little")
    return data


def truncate(draw: np.random.Generator, data: bytearray) -> bytearray:
    return data[: draw.integers(0, len(data))]


def swap(draw: np.random.Generator, data: bytearray) -> bytearray:
    size = min(int(draw.choice([1, 4, 8, 16, 64, 256])), max(1, len(data) // 2))
    a, b = sorted(size * int(n) for n in draw.integers(0, len(data) // size, 2))
    data[a : a + size], data[b : b + size] = data[b : b + size], data[a : a + size]
    return data


def repeat(draw: np.random.Generator, data: bytearray) -> bytearray:
    """A block twice: what follows moves."""
    a, size = int(draw.integers(0, len(data))), int(draw.choice([1, 8, 64, 512]))
    return data[: a + size] + data[a : a + size] + data[a + size :]


def blank(draw: np.random.Generator, data: bytearray) -> bytearray:
    a, size = int(draw.integers(0, len(data))), int(draw.choice([4, 8, 16, 64]))
    data[a : a + size] = bytes([draw.choice([0, 255])]) * len(data[a : a + size])
    return data


BYTES = (flip, flip, number, number, truncate, swap, repeat, blank)


def of_bytes(draw: np.random.Generator, data: bytes) -> bytes:
    return bytes(BYTES[draw.integers(len(BYTES))](draw, bytearray(data)))


# -- HDF5 metadata carries checksums: a mutant that keeps them would end there -----------------------------------------
def checksum(data: bytes) -> int:
    """Bob Jenkins' lookup3, as HDF5 uses it."""

    def turn(x: int, bits: int) -> int:
        return (x << bits | x >> 32 - bits) & 0xFFFFFFFF

    a = b = c = (0xDEADBEEF + len(data)) & 0xFFFFFFFF
    while len(data) > 12:
        x, y, z = struct.unpack_from("<III", data)
        a, b, c = (a + x) & 0xFFFFFFFF, (b + y) & 0xFFFFFFFF, (c + z) & 0xFFFFFFFF
        a = (a - c & 0xFFFFFFFF) ^ turn(c, 4)
        c = (c + b) & 0xFFFFFFFF
        b = (b - a & 0xFFFFFFFF) ^ turn(a, 6)
        a = (a + c) & 0xFFFFFFFF
        c = (c - b & 0xFFFFFFFF) ^ turn(b, 8)
        b = (b + a) & 0xFFFFFFFF
        a = (a - c & 0xFFFFFFFF) ^ turn(c, 16)
        c = (c + b) & 0xFFFFFFFF
        b = (b - a & 0xFFFFFFFF) ^ turn(a, 19)
        a = (a + c) & 0xFFFFFFFF
        c = (c - b & 0xFFFFFFFF) ^ turn(b, 4)
        b = (b + a) & 0xFFFFFFFF
        data = data[12:]
    if not data:
        return c
    x, y, z = struct.unpack("<III", data.ljust(12, b"\0"))
    a, b, c = (a + x) & 0xFFFFFFFF, (b + y) & 0xFFFFFFFF, (c + z) & 0xFFFFFFFF
    for bits, names in zip((14, 11, 25, 16, 4, 14, 24), ("cb", "ac", "ba", "cb", "ac", "ba", "cb"), strict=True):
        values = {"a": a, "b": b, "c": c}
        first, second = names
        values[first] = ((values[first] ^ values[second]) - turn(values[second], bits)) & 0xFFFFFFFF
        a, b, c = values["a"], values["b"], values["c"]
    return c


def metadata(data: bytes) -> list[tuple[int, int]]:
    """(first byte, place of the checksum) of the superblock and of every object header and its continuation."""
    found = [(0, 44)]
    for word in (b"OHDR", b"OCHK"):
        place = data.find(word)
        while place >= 0:
            for stop in range(place + 8, min(place + 2048, len(data) - 3)):
                if struct.unpack_from("<I", data, stop)[0] == checksum(data[place:stop]):
                    found.append((place, stop))
                    break
            place = data.find(word, place + 1)
    return found


def of_metadata(draw: np.random.Generator, data: bytes, blocks: list[tuple[int, int]]) -> bytes:
    """A block of HDF5 metadata changed in a few places, its checksum right again."""
    changed = bytearray(data)
    for _ in range(draw.integers(1, 3)):
        start, stop = blocks[draw.integers(len(blocks))]
        head = 8 if start == 0 else 4
        part = bytearray(changed[start + head : stop])
        part = (flip, number, blank, swap)[draw.integers(4)](draw, part)[: stop - start - head]
        changed[start + head : start + head + len(part)] = part
        changed[stop : stop + 4] = struct.pack("<I", checksum(bytes(changed[start:stop])))
    return bytes(changed)


# -- JSON --------------------------------------------------------------------------------------------------------------
def places(value: object) -> Iterator[tuple[dict | list, object]]:
    """Every (object or list, key or index) in a JSON value."""
    if isinstance(value, dict | list):
        for key, item in list(value.items() if isinstance(value, dict) else enumerate(value)):
            yield value, key
            yield from places(item)


def of_json(draw: np.random.Generator, value: dict) -> None:
    for _ in range(draw.integers(1, 3)):
        found = list(places(value))
        holder, key = found[draw.integers(len(found))]
        other, from_ = found[draw.integers(len(found))]
        change = draw.integers(7)
        with contextlib.suppress(LookupError):
            if change == 0:
                del holder[key]
            elif change == 1:
                holder[key] = json.loads(json.dumps(other[from_]))
            elif change == 2 and isinstance(holder, list):
                holder.insert(key, holder[key])
            elif change == 2:
                holder[f"{key}2"] = holder[key]
            elif change == 3 and isinstance(holder[key], int):
                holder[key] += int(draw.choice([-64, -8, -1, 1, 8, 64]))
            elif change == 4:
                for _ in range(int(draw.choice([1, 20, 400]))):
                    holder[key] = [holder[key]] if draw.random() < 0.5 else {"a": holder[key]}
            else:
                holder[key] = ODD[draw.integers(len(ODD))]


# -- a mutant and what comes of it -------------------------------------------------------------------------------------
KINDS = ("manifest bytes", "manifest sealed", "shard", "shard sealed", "shard sealed", "metadata sealed")


class Mutants:
    def __init__(self, root: Path):
        self.root, self.cache = root, root / "mutant"
        self.originals = {name: _files(root / name) for name in ("arrow", "hdf5")}
        self.columns = {name: _columns(open_cache(root / name)) for name in self.originals}
        self.metadata = {file: metadata(data) for file, data in self.originals["hdf5"].items() if file.endswith(".h5")}
        self.container = ""

    def make(self, number: int) -> tuple[str, bool]:
        """Write a mutant to self.cache. Returns its kind, and whether its digests were made right again."""
        draw = np.random.default_rng(number)
        kind = KINDS[number % len(KINDS)]
        # Opening HDF5 takes ten times as long as Arrow.
        self.container = "hdf5" if kind == "metadata sealed" or draw.random() < 0.3 else "arrow"
        files = self.originals[self.container]
        for file, data in files.items():
            path = self.cache / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        for stale in self.cache.rglob("*.*"):
            if str(stale.relative_to(self.cache)) not in files:
                stale.unlink()
        if kind == "manifest bytes":
            (self.cache / "manifest.json").write_bytes(of_bytes(draw, files["manifest.json"]))
        elif kind == "manifest sealed":
            seal(self.cache, lambda value: (of_json(draw, value), seal_splits(value)))
        else:
            file = sorted(file for file in files if file != "manifest.json")[draw.integers(len(files) - 1)]
            if kind == "metadata sealed":
                changed = of_metadata(draw, files[file], self.metadata[file])
            else:
                changed = of_bytes(draw, files[file])
            (self.cache / file).write_bytes(changed)
            if kind != "shard":
                seal_shard(self.cache, file, moved=draw.random() < 0.5)
        return kind, kind.endswith("sealed")

    def read(self, sealed: bool) -> str:
        """'refused', 'equal' or 'sound'. Raises AssertionError, or whatever the reader lets through."""
        try:
            cache = open_cache(self.cache, self.root / "store")
            columns = _columns(cache)
            check_everything(cache)
        except BadCache as error:
            text = str(error)
            assert text.isprintable() and len(text) < 700, text
            assert text.startswith(f"{self.cache}/"), text
            return "refused"
        if self._equal(columns):
            return "equal"
        assert sealed, "other columns than the original's"
        return "sound"

    def _equal(self, columns: dict) -> bool:
        original = self.columns[self.container]
        return set(columns) == set(original) and all(_same(columns[key], original[key]) for key in columns)


def _files(cache: Path) -> dict[str, bytes]:
    return {str(path.relative_to(cache)): path.read_bytes() for path in cache.rglob("*.*") if path.is_file()}


def _same(a: object, b: object) -> bool:
    if isinstance(a, Ragged) and isinstance(b, Ragged):
        return np.array_equal(a.values, b.values) and np.array_equal(a.offsets, b.offsets)
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()  # type: ignore[attr-defined]


def _columns(cache: Cache) -> dict:
    """Every column of every shard, found to be sound by means of this test's own."""
    model, found = cache.manifest.model, {}
    for split in cache.splits.values():
        start = 0
        for index, shard in enumerate(split.shards):
            assert isinstance(shard, Shard)
            whole = cache.source._map(shard.record)[0]  # type: ignore[attr-defined]
            for name, column in shard.items():
                for array in (column.values, column.offsets) if isinstance(column, Ragged) else (column,):
                    low, high = np.lib.array_utils.byte_bounds(array)
                    first, last = np.lib.array_utils.byte_bounds(whole)
                    assert first <= low <= high <= last, f"{name} lies outside its file"
                found[split.name, index, name] = column
            rows, tokens = shard.record.rows, shard["input_ids"]
            assert shard["example_id"].tolist() == list(range(start, start + rows))
            assert len(tokens) == rows and all(len(tokens[row]) for row in range(rows))
            assert all(0 <= token < model.vocabulary for token in tokens.values.tolist())
            if model.token_types:
                assert shard["token_type_ids"].offsets.tolist() == tokens.offsets.tolist()
                assert all(0 <= one < model.token_types for one in shard["token_type_ids"].values.tolist())
            assert shard["row_hash"].shape == (rows, 16) and shard["row_hash"].dtype == np.uint8
            assert shard["logits"].shape == (rows, model.classes) and shard["logits"].dtype == np.float32
            assert all(-1 <= label < model.classes for label in shard["label"].tolist())
            for layer in cache.manifest.layers:
                column = shard[f"cls_{layer:02d}"]
                assert column.shape == (rows, model.hidden) and column.dtype == cache.manifest.dtype
            start += rows
        assert split.lengths.shape == split.labels.shape == (start,)
    return found


def opened_outside(*allowed: Path) -> list[str]:
    """A list that grows by every path that Python opens from now on outside these directories."""
    seen: list[str] = []
    inside = tuple(str(path) + "/" for path in allowed)

    def watch(event: str, arguments: tuple) -> None:
        if event == "open" and isinstance(arguments[0], str | bytes):
            path = arguments[0].decode() if isinstance(arguments[0], bytes) else arguments[0]
            if not str(Path(path).absolute()).startswith(inside) or "/../" in path:
                seen.append(path)

    sys.addaudithook(watch)
    return seen


def peak(read: Callable[[], T]) -> tuple[T, int]:
    """What `read` returns, and by how many bytes this process grew meanwhile at most, mapped files included."""
    Path("/proc/self/clear_refs").write_text("5")
    before = _status("VmRSS")
    result = read()
    return result, _status("VmHWM") - before


def _status(field: str) -> int:
    text = Path("/proc/self/status").read_text()
    return int(text.partition(f"{field}:")[2].split(maxsplit=1)[0]) * 1024


def main(root: Path, first: int, count: int) -> None:
    mutants = Mutants(root)
    seen: Counter[str] = Counter()
    failures, grown = [], 0
    for number in range(first, first + len(KINDS)):  # libraries are imported
        mutants.read(mutants.make(number)[1])
    outside = opened_outside(root, Path("/proc"))
    resource.setrlimit(resource.RLIMIT_AS, (_status("VmSize") + 2**30, resource.RLIM_INFINITY))
    for number in range(first, first + count):
        kind, sealed = mutants.make(number)
        (root / "at").write_text(f"{number} ({kind}, {mutants.container})")
        signal.alarm(20)  # a mutant that hangs kills the process
        try:
            allowed = SLACK + 2 * sum(path.stat().st_size for path in mutants.cache.rglob("*.*"))
            for _ in range(3):  # what an allocator keeps for later is not asked for again
                result, more = peak(lambda sealed=sealed: mutants.read(sealed))  # type: ignore[misc]
                if more < allowed:
                    break
            assert more < allowed, f"grew by {more} bytes, not {allowed}"
            assert not outside, f"opened {outside}"
        except BaseException as error:
            failures.append(f"{number} ({kind}, {mutants.container}): {type(error).__name__}: {error}"[:400])
            outside.clear()
            if len(failures) > 20:
                break
            continue
        grown = max(grown, more)
        seen[f"{kind}: {result}"] += 1
    signal.alarm(0)
    shutil.rmtree(mutants.cache)
    print(json.dumps({"seen": seen, "failures": failures, "grown": grown}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
