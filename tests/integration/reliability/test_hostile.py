"""Caches made to do harm, with every size and digest made right again: each is refused in one line, and no more."""

import contextlib
import ctypes
import json
import os
import pickle
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.torch import load_file, save_file

from pipeline.cache.format.containers import CONTAINERS
from pipeline.cache.format.manifest_validation import read_manifest
from pipeline.cache.open import open_cache
from pipeline.data.ragged import Ragged
from pipeline.errors import BadCache
from tests.helpers.reading import check_everything
from tests.helpers.sealing import seal, seal_shard, seal_splits, seal_teacher, seal_text, write_cache, write_sealed

SHORT = ("--max-steps", 2, "--precision", "float32", "--eval-every", 100)
ROWS = 20


@pytest.fixture(params=["arrow", "hdf5"])
def small(request, tmp_path) -> Path:
    """A cache of one shard of 20 rows and a split of 3; its teacher is a record only."""
    write_cache(tmp_path / "small", request.param, {"train": ROWS, "dev": 3}, ROWS)
    return tmp_path / "small"


@pytest.fixture
def cache(tiny, tmp_path) -> Path:
    return shutil.copytree(tiny.arrow, tmp_path / "cache")


@pytest.fixture
def refused(call, in_directory) -> Callable[..., str]:
    """`refused(cache, *words)` is the one line with which training from it is refused: nothing is left behind."""

    def run(cache: Path, *words: object) -> str:
        there = {path for path in in_directory.rglob("*") if not path.is_relative_to(cache)}
        result = call("train-student", "--cache", cache, "--out", in_directory / "out", *SHORT, *words)
        assert result.code == 2, result.stderr
        assert result.error.startswith("Error: ") and result.error.isprintable()
        assert "Traceback" not in result.stderr
        new = {path for path in in_directory.rglob("*") if not path.is_relative_to(cache)} - there
        assert not [path for path in new if path.name in ("run.json", "model")]
        shutil.rmtree(in_directory / "out", ignore_errors=True)
        return result.error

    return run


def problem(cache: Path) -> str:
    """The one line with which reading everything in a cache is refused."""
    with pytest.raises(BadCache) as error:
        opened = open_cache(cache, cache.parent / "store")
        for split in opened.splits.values():
            for shard in split.shards:
                for name in shard:
                    shard[name]
        check_everything(opened)
    text = str(error.value)
    assert text.isprintable() and text.startswith(f"{cache}/")
    return text


@contextlib.contextmanager
def untouched(directory: Path) -> Iterator[None]:
    """Fails if any file in `directory` is opened or read meanwhile, by C code too."""
    libc = ctypes.CDLL(None, use_errno=True)
    watch = libc.inotify_init1(os.O_NONBLOCK)
    assert libc.inotify_add_watch(watch, os.fsencode(directory), 0x1 | 0x20) >= 0  # IN_ACCESS, IN_OPEN
    try:
        yield
        with pytest.raises(BlockingIOError):
            os.read(watch, 4096)
        next(directory.iterdir()).read_bytes()
        assert os.read(watch, 4096)  # it does see
    finally:
        os.close(watch)


def outside(tmp_path: Path) -> Path:
    """A directory with valid shards of the same rows, of both containers."""
    for name in ("arrow", "hdf5"):
        write_cache(tmp_path / f"other-{name}", name, {"train": ROWS, "dev": 3}, ROWS)
    directory = tmp_path / "outside"
    directory.mkdir()
    for name in ("arrow", "hdf5"):
        for path in (tmp_path / f"other-{name}" / "train").iterdir():
            shutil.move(path, directory)
    return directory


def shard_file(cache: Path) -> str:
    return read_manifest(cache).splits["train"].shards[0].file


# --- what lies in the directory ------------------------------------------------------------------------------


def link(path: Path, other: Path) -> None:
    path.unlink()
    path.symlink_to(other / path.name)


def linked_directory(path: Path, other: Path) -> None:
    shutil.rmtree(path.parent)
    path.parent.symlink_to(other)


def fifo(path: Path, other: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def directory(path: Path, other: Path) -> None:
    path.unlink()
    path.mkdir()


def device(path: Path, other: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("attack", [fifo, directory])
def test_a_shard_that_is_no_plain_file_of_the_directory(small, tmp_path, attack):
    other, file = outside(tmp_path), shard_file(small)
    with untouched(other):
        attack(small / file, other)
        assert problem(small) == (
            f"{small}/{file} is damaged (it is not a regular file). Run: python cli.py cache verify {small} --repair"
        )


@pytest.mark.parametrize("attack", [link, linked_directory, device])
def test_a_shard_that_is_a_link(small, tmp_path, attack):
    other, file = outside(tmp_path), shard_file(small)
    with untouched(other):
        attack(small / file, other)
        assert problem(small) == (
            f"{small}/{file} is a link, and a cache holds its files itself. Copy it, and use the copy: "
            f"cp -rL {small} {small}-copy"
        )


@pytest.mark.parametrize("attack", [link, fifo, directory])
def test_a_manifest_that_is_no_plain_file(small, tmp_path, attack):
    attack(small / "manifest.json", outside(tmp_path))
    with pytest.raises(BadCache):
        open_cache(small)


@pytest.mark.parametrize("name", ["config.json", "layer-01.safetensors", "tokenizer.json"])
@pytest.mark.parametrize("attack", [link, linked_directory, fifo, directory])
def test_a_teacher_that_is_no_plain_file_of_the_directory(cache, tiny, refused, attack, name):
    path = cache / "teacher" / name
    attack(path, tiny.arrow / "teacher")
    is_link = attack in (link, linked_directory)
    reason = (
        " is a link, and a cache holds" if is_link else " is damaged (it is not a regular file). Run: python cli.py"
    )
    assert "teacher/" in (line := refused(cache)) and reason in line


@pytest.mark.parametrize(
    "file", ["../outside/00000.arrow", "/etc/passwd", "train/../../x", "train\0", "dev/00000.arrow"]
)
def test_paths_that_leave_the_directory(cache, refused, file):
    seal(cache, lambda value: value["splits"]["train"]["shards"][0].update(file=file))
    assert "is not the name of shard 0 of split 'train'" in refused(cache) or "control characters" in refused(cache)


@pytest.mark.parametrize("name", ["../x.json", "/etc/x.json", "a/b.json", ".", "..", "x.bin", "x.py", "x.pkl", ""])
def test_teacher_files_of_other_places_and_kinds(cache, refused, name):
    seal(cache, lambda value: value["teacher_files"].update({name: value["teacher_files"]["config.json"]}))
    assert f"teacher file {name!r}" in refused(cache)


@pytest.mark.parametrize("name", ["../../../x", "/tmp/x", "..", "a/b", "", "a\nb", "\x1b[2J"])
def test_a_task_whose_name_would_lead_elsewhere(cache, call, in_directory, name):
    """Runs land in runs/TASK/: without --out, the manifest names a directory to write to."""
    seal(cache, lambda value: value["task"].update(name=name))
    result = call("train-student", "--cache", cache, *SHORT)
    assert result.code == 2 and ("is not the name of a task" in result.error or "control characters" in result.error)
    assert result.error.isprintable() and [path.name for path in in_directory.iterdir()] == ["cache"]


# --- numbers of the manifest ---------------------------------------------------------------------------------


def first(value):
    return value["splits"]["train"]["shards"][0]


NUMBERS = {
    "offset behind the end": lambda value: first(value)["parts"]["label"].update(offset=2**40),
    "size behind the end": lambda value: first(value)["parts"]["label"].update(bytes=2**62),
    "offset elsewhere": lambda value: first(value)["parts"]["label"].update(offset=0),
    "billions of rows": lambda value: (first(value).update(rows=10**9), value["fields"].update(shard_rows=10**9)),
    "file of exabytes": lambda value: first(value).update(bytes=2**62),
    "wide": lambda value: value["model"].update(hidden=10**9),
    "a million layers": lambda value: (
        value["model"].update(depth=10**6),
        value["fields"].update(layers=list(range(1, 10**6, 97))),
    ),
    "no shards": lambda value: (value["splits"]["train"].update(shards=[]), seal_splits(value)),
    "no splits": lambda value: (value.update(splits={}), value["fields"].update(splits={})),
    "padding outside the vocabulary": lambda value: value["model"].update(pad_id=10**9),
    "vocabulary": lambda value: value["model"].update(vocabulary=10),
    "token types": lambda value: value["model"].update(token_types=1),
    "dtype": lambda value: value["fields"].update(dtype="float32"),
    "max_length": lambda value: value["fields"].update(max_length=4),
    "max_length no number": lambda value: value["fields"].update(max_length="128"),
    "one label": lambda value: (
        value["task"].update(labels=["a"]),
        value["fields"].update(labels=["a"]),
        value["model"].update(classes=1),
    ),
    "regression": lambda value: (
        value["task"].update(labels=None),
        value["fields"].update(labels=None),
        value["model"].update(classes=1),
    ),
    "unknown metric": lambda value: value["task"].update(metrics=["__import__"]),
    "no metric": lambda value: value["task"].update(metrics=[]),
    "half a character": lambda value: value["task"].update(metrics=["\ud800"]),
    "compute": lambda value: value["fields"].update(compute="int8"),
    "a field more": lambda value: value["fields"].update(more=1),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_that_cannot_be(small, name):
    seal(small, NUMBERS[name])
    assert " is damaged (" in problem(small)


@pytest.mark.parametrize("text", ["\\ud800", "\\u001b[2J", "\\u009b2J", "\x7f", "\x9b2J"])
def test_characters_that_no_terminal_should_see(cache, refused, text):
    """Names of labels and commands are printed; half a character cannot be."""
    whole = (cache / "manifest.json").read_text()
    changed = whole.replace('"made": {', f'"made": {{"x": "{text}",', 1).rpartition(',\n "digest": "')[0]
    seal_text(cache, changed.replace("\\u009b", "\x9b"))
    assert "manifest.json is damaged (ValueError: it contains control characters)" in refused(cache)


# --- values in the shards ------------------------------------------------------------------------------------


def values_of(cache: Path, part: str, dtype: str, change: Callable[[np.ndarray], object]) -> None:
    """Change the values of a part of the first training shard where they lie, and recompute every digest."""
    file = shard_file(cache)
    extent = read_manifest(cache).splits["train"].shards[0].parts[part]
    data = bytearray((cache / file).read_bytes())
    values = np.frombuffer(memoryview(data)[extent.offset : extent.offset + extent.bytes], dtype)
    change(values)
    (cache / file).write_bytes(data)
    seal_shard(cache, file)


def put(place: int, value: int) -> Callable[[np.ndarray], None]:
    return lambda values: values.__setitem__(place, value)


VALUES = {
    "duplicate ids": ("example_id", "<i8", put(1, 0), "its example ids do not count on from the shard before it"),
    "huge id": ("example_id", "<i8", put(0, 2**62), "its example ids do not count on from the shard before it"),
    "token": ("input_ids/values", "<i4", put(3, 32), "input_ids holds 0..32, not 0..31"),
    "huge token": ("input_ids/values", "<i4", put(3, 2**31 - 1), "input_ids holds 0..2147483647, not 0..31"),
    "negative token": ("input_ids/values", "<i4", put(3, -1), "input_ids holds -1..31, not 0..31"),
    "label": ("label", "<i8", put(0, 3), "label holds 0..3, not 0..2"),
    "unlabelled": ("label", "<i8", put(0, -1), "label holds -1..2, not 0..2"),
    "token type": ("token_type_ids/values", "|i1", put(0, 2), "token_type_ids holds 0..2, not 0..1"),
    "negative type": ("token_type_ids/values", "|i1", put(0, -128), "token_type_ids holds -128..1, not 0..1"),
    "offsets go down": (
        "input_ids/offsets",
        "<i8",
        put(2, 0),
        "column input_ids is not a sound ragged column of 20 rows of int32",
    ),
    "offset past the end": (
        "input_ids/offsets",
        "<i8",
        put(-1, 2**40),
        "column input_ids is not a sound ragged column of 20 rows of int32",
    ),
    "negative offset": (
        "input_ids/offsets",
        "<i8",
        put(0, -8),
        "column input_ids is not a sound ragged column of 20 rows of int32",
    ),
    "other lengths": (
        "token_type_ids/offsets",
        "<i8",
        lambda values: values.__setitem__(1, values[1] + (1 if values[2] > values[1] + 1 else -1)),
        "",
    ),
}


@pytest.mark.parametrize("name", VALUES)
def test_values_that_cannot_be(small, name):
    part, dtype, change, text = VALUES[name]
    values_of(small, part, dtype, change)
    assert f"{small}/{shard_file(small)} is damaged ({text}" in problem(small)


def change_sequences(value, sequences: int, labels: int = 3) -> None:
    letters = list("ABCD"[:labels]) or [f"A{place}" for place in range(sequences)]
    value["fields"].update(sequences=sequences, labels=letters)
    value["task"].update(labels=letters)
    value["model"].update(classes=len(letters))


SEQUENCES = {
    "one": (lambda value: change_sequences(value, 1), "1 sequences for 3 logits"),
    "too many": (
        lambda value: change_sequences(value, 10**4, 0),
        "10000 labels that are not the letters of choices",
    ),
    "more than choices": (lambda value: change_sequences(value, 4), "4 sequences for 3 logits"),
    "other names": (
        lambda value: (value["fields"].update(labels=["C", "B", "A"]), value["task"].update(labels=["C", "B", "A"])),
        "3 labels that are not the letters of choices",
    ),
    "more columns": (lambda value: change_sequences(value, 4, 4), " is damaged ("),
    "classes": (lambda value: value["fields"].pop("kind"), "3 sequences for 3 logits"),
    "short": (lambda value: value["fields"].update(max_length=2), "a row of input_ids has "),
}


@pytest.mark.parametrize("container", ["arrow", "hdf5"])
@pytest.mark.parametrize("name", SEQUENCES)
def test_sequences_that_cannot_be(tmp_path, container, name):
    cache = tmp_path / "questions"
    write_cache(cache, container, {"train": ROWS, "dev": 3}, ROWS, sequences=3)
    change, text = SEQUENCES[name]
    seal(cache, change)
    assert text in problem(cache)


LENGTHS = {
    "none": (put(0, 0), "sequence_lengths holds 0..4, not 1..16"),
    "negative": (put(0, -(2**31)), "sequence_lengths holds -2147483648..4, not 1..16"),
    "huge": (put(0, 2**31 - 1), "sequence_lengths holds 1..2147483647, not 1..16"),
    "others": (lambda values: put(0, values[0] + 1)(values), "the sequences of a row are not as long as its tokens"),
}


@pytest.mark.parametrize("container", ["arrow", "hdf5"])
@pytest.mark.parametrize("name", LENGTHS)
def test_lengths_of_sequences_that_cannot_be(tmp_path, container, name):
    cache = tmp_path / "questions"
    write_cache(cache, container, {"train": ROWS, "dev": 3}, ROWS, sequences=3)
    change, text = LENGTHS[name]
    values_of(cache, "sequence_lengths", "<i4", change)
    assert f"{cache}/{shard_file(cache)} is damaged ({text}" in problem(cache)


def permuted(columns: dict, order: np.ndarray) -> dict:
    return {
        name: Ragged.from_lists([column[row] for row in order], column.values.dtype)
        if isinstance(column, Ragged)
        else np.asarray(column)[order]
        for name, column in columns.items()
    }


def permute(cache: Path) -> str:
    """The rows of the first training shard in another order under the old ids; the file's own digests are right."""
    file, opened = shard_file(cache), open_cache(cache)
    columns = dict(opened.splits["train"].shards[0])
    order = np.roll(np.arange(len(columns["label"])), 1)
    changed = permuted(columns, order) | {"example_id": np.array(columns["example_id"])}
    CONTAINERS[opened.manifest.container].write(cache / file, changed)
    return file


def test_permuted_rows_are_caught_by_the_row_digests_of_the_identity(cache, tiny, refused):
    before = read_manifest(cache)
    file = permute(cache)
    whole = json.loads((cache / "manifest.json").read_text())
    seal_shard(cache, file)
    sealed = json.loads((cache / "manifest.json").read_text())
    for value in (sealed["splits"]["train"]["shards"][0], whole["splits"]["train"]["shards"][0]):
        value.pop("parts", None)
    identity = read_manifest(cache).identity
    # with every digest right, up to the identity: this is another cache, and a pinned one is refused
    assert identity != before.identity
    line = refused(cache, "--expect-identity", before.identity)
    assert f"{cache} has the identity {identity}, not {before.identity}" in line
    # with the identity as it was, the split's digest does not fit the rows' digests
    value = json.loads((cache / "manifest.json").read_text())
    value["fields"]["splits"]["train"] = before.fields.splits["train"]
    value["identity"] = before.identity
    write_sealed(cache, value)
    assert "(ValueError: the rows of split train are not those of the identity)" in refused(cache)
    # and with the digest of the rows as it was, the rows do not fit it
    value["splits"]["train"]["shards"][0]["rows_digest"] = before.splits["train"].shards[0].rows_digest
    write_sealed(cache, value)
    assert read_manifest(cache).identity == before.identity
    assert f"{file} is damaged (its rows are not those that the identity has for split train)" in refused(cache)


def test_tokens_under_the_row_hashes_of_others(cache, refused):
    """The identity has row hashes, not tokens: every row used is compared with its own."""
    values_of(cache, "input_ids/values", "<i4", lambda values: values.__setitem__(slice(None), values[::-1].copy()))
    assert "the stored row belongs to other tokens" in refused(cache)
    assert "the stored row belongs to other tokens" in refused(cache, "--method", "ft")


# --- containers ----------------------------------------------------------------------------------------------


def hdf5_attacks(other: Path) -> dict[str, Callable[[h5py.File], object]]:
    """What stands in the place of the data set `logits`, float32 [20, 3]."""
    target, shape = str(other / "00000.h5"), (ROWS, 3)

    def virtual(file: h5py.File, name: str = target, unlimited: bool = False) -> None:
        layout = h5py.VirtualLayout(shape, "float32", maxshape=(None, 3) if unlimited else None)
        source = h5py.VirtualSource(name, "logits", shape, maxshape=(None, 3) if unlimited else None)
        if unlimited:
            layout[0 : h5py.h5s.UNLIMITED, :] = source[0 : h5py.h5s.UNLIMITED, :]
        else:
            layout[:] = source
        file.create_virtual_dataset("logits", layout)

    pair = np.dtype([("a", "<i4"), ("b", "<i4"), ("c", "<i4")])
    return {
        "external link": lambda file: file.__setitem__("logits", h5py.ExternalLink(target, "/logits")),
        "soft link": lambda file: file.__setitem__("logits", h5py.SoftLink("/cls_01")),
        "dangling link": lambda file: file.__setitem__("logits", h5py.SoftLink("/none")),
        "a group": lambda file: file.create_group("logits"),
        "a named type": lambda file: file.__setitem__("logits", np.dtype("float32")),
        "external storage": lambda file: file.create_dataset("logits", shape, "float32", external=[(target, 0, 240)]),
        "external device": lambda file: file.create_dataset(
            "logits", shape, "float32", external=[("/dev/zero", 0, h5py.h5f.UNLIMITED)]
        ),
        "virtual": virtual,
        "virtual without end": lambda file: virtual(file, unlimited=True),
        "virtual itself": lambda file: virtual(file, "."),
        "compound": lambda file: file.create_dataset("logits", data=np.zeros((ROWS,), pair)),
        "strings": lambda file: file.create_dataset("logits", data=np.full(shape, b"abcd", "S4")),
        "strings of any length": lambda file: file.create_dataset("logits", shape, h5py.string_dtype()),
        "references": lambda file: file.create_dataset("logits", shape, h5py.ref_dtype),
        "sequences": lambda file: file.create_dataset("logits", shape, h5py.vlen_dtype(np.float32)),
        "opaque": lambda file: file.create_dataset("logits", data=np.zeros(shape, "V4")),
        "big-endian": lambda file: file.create_dataset("logits", data=np.zeros(shape, ">f4")),
        "doubles": lambda file: file.create_dataset("logits", data=np.zeros(shape)),
        "whole numbers": lambda file: file.create_dataset("logits", data=np.zeros(shape, np.int32)),
        "a bomb": lambda file: file.create_dataset("logits", (10**9, 3), "float32", chunks=(10**6, 3), compression=9),
        "compressed": lambda file: file.create_dataset("logits", data=np.zeros(shape, np.float32), compression=9),
        "chunked": lambda file: file.create_dataset("logits", data=np.zeros(shape, np.float32), chunks=(4, 3)),
        "checksummed": lambda file: file.create_dataset("logits", shape, "float32", fletcher32=True),
        "not allocated": lambda file: file.create_dataset("logits", shape, "float32"),
        "terabytes not allocated": lambda file: file.create_dataset("logits", (10**12, 3), "float32"),
        "resizable": lambda file: file.create_dataset("logits", shape, "float32", maxshape=(None, 3)),
        "a scalar": lambda file: file.create_dataset("logits", data=np.float32(1)),
        "empty": lambda file: file.create_dataset("logits", data=h5py.Empty("f4")),
        "a row less": lambda file: file.create_dataset("logits", data=np.zeros((ROWS - 1, 3), np.float32)),
        "a dimension less": lambda file: file.create_dataset("logits", data=np.zeros(3 * ROWS, np.float32)),
        "missing": lambda file: None,
    }


@pytest.mark.parametrize("name", hdf5_attacks(Path()))
def test_an_hdf5_data_set_of_another_kind(tmp_path, name):
    write_cache(tmp_path / "small", "hdf5", {"train": ROWS}, ROWS)
    small, other = tmp_path / "small", outside(tmp_path)
    with h5py.File(small / "train/00000.h5", "a", libver="v110") as file:
        del file["logits"]
        hdf5_attacks(other)[name](file)
    seal_shard(small, "train/00000.h5")
    with untouched(other):
        assert problem(small).startswith(f"{small}/train/00000.h5 is damaged (")


def test_an_external_link_in_a_ragged_column(tmp_path):
    write_cache(tmp_path / "small", "hdf5", {"train": ROWS}, ROWS)
    small, other = tmp_path / "small", outside(tmp_path)
    for place in ("input_ids", "input_ids/values"):
        with h5py.File(small / "train/00000.h5", "a", libver="v110") as file:
            del file[place]
            file[place] = h5py.ExternalLink(str(other / "00000.h5"), f"/{place}")
        seal_shard(small, "train/00000.h5")
        with untouched(other):
            assert problem(small).startswith(f"{small}/train/00000.h5 is damaged (")
        shutil.rmtree(small)
        write_cache(small, "hdf5", {"train": ROWS}, ROWS)


@pytest.mark.parametrize("version", ["earliest", "v108"])
def test_an_hdf5_file_of_an_old_format(tmp_path, version):
    """Superblocks before version 3 have metadata without checksums."""
    write_cache(tmp_path / "small", "hdf5", {"train": ROWS}, ROWS)
    path = tmp_path / "small/train/00000.h5"
    with h5py.File(path, "r") as file, h5py.File(tmp_path / "old.h5", "w", libver=(version, "v108")) as old:
        for name in file:
            file.copy(name, old)
    with (tmp_path / "old.h5").open("ab") as old:
        old.write(bytes(path.stat().st_size))  # so that the places in the manifest lie in the file
    shutil.move(tmp_path / "old.h5", path)
    seal_shard(tmp_path / "small", "train/00000.h5")
    assert "is damaged (not an HDF5 file of version 1.10)" in problem(tmp_path / "small")


def with_column(batch: pa.RecordBatch, name: str, values: list, kind: pa.DataType | None = None) -> pa.RecordBatch:
    place = batch.schema.get_field_index(name)
    return batch.set_column(place, name, pa.array(values, kind or batch.schema.field(name).type))


def labels(batch: pa.RecordBatch) -> list:
    return batch["label"].to_pylist()


def logits(batch: pa.RecordBatch) -> list:
    return batch["logits"].to_pylist()


def encoded(batch: pa.RecordBatch) -> pa.RecordBatch:
    return batch.set_column(batch.schema.get_field_index("label"), "label", batch["label"].dictionary_encode())


ARROW = {
    "two batches": lambda b: [b, b],
    "rows in two batches": lambda b: [b.slice(0, 5), b.slice(5)],
    "null": lambda b: [with_column(b, "label", [None, *labels(b)[1:]])],
    "null inside": lambda b: [with_column(b, "logits", [[None, *row[1:]] for row in logits(b)])],
    "null row": lambda b: [with_column(b, "logits", [None, *logits(b)[1:]])],
    "dictionary": lambda b: [encoded(b)],
    "strings": lambda b: [with_column(b, "label", [str(label) for label in labels(b)], pa.string())],
    "structs": lambda b: [with_column(b, "label", [{"a": 1}] * ROWS, pa.struct({"a": pa.int64()}))],
    "doubles": lambda b: [with_column(b, "logits", logits(b), pa.list_(pa.float64(), 3))],
    "lists": lambda b: [with_column(b, "logits", logits(b), pa.list_(pa.float32()))],
    "short lists": lambda b: [with_column(b, "input_ids", b["input_ids"].to_pylist(), pa.list_(pa.int32()))],
    "a row less": lambda b: [b.slice(0, ROWS - 1)],
    "metadata": lambda b: [b.replace_schema_metadata({"a": "b"})],
    "a column more": lambda b: [b.append_column("more", pa.array(labels(b)))],
    "a column twice": lambda b: [b.append_column("label", pa.array(labels(b)))],
    "a column less": lambda b: [b.drop_columns(["logits"])],
    "another order": lambda b: [b.select(b.schema.names[::-1])],
    "zstd": lambda b: [b],
    "lz4": lambda b: [b],
}


def train_batch(cache: Path) -> pa.RecordBatch:
    with (cache / "train/00000.arrow").open("rb") as file:
        return pa.ipc.open_file(file.read()).get_batch(0)


@pytest.mark.parametrize("name", ARROW)
def test_an_arrow_file_of_another_kind(tmp_path, name):
    write_cache(tmp_path / "small", "arrow", {"train": ROWS}, ROWS)
    small = tmp_path / "small"
    batches = ARROW[name](train_batch(small))
    options = pa.ipc.IpcWriteOptions(compression=name if name in ("zstd", "lz4") else None)
    with pa.ipc.new_file(small / "train/00000.arrow", batches[0].schema, options=options) as writer:
        for batch in batches:
            writer.write_batch(batch)
    seal_shard(small, "train/00000.arrow")
    assert problem(small).startswith(f"{small}/train/00000.arrow is damaged (")


@pytest.mark.parametrize("number", [-8, -(2**62), 2**20, 2**40, 2**62])
def test_an_arrow_buffer_that_leaves_the_file(tmp_path, number):
    """Each (offset, length) in the metadata of the batch: the manifest says the same, or what it said before."""
    write_cache(tmp_path / "small", "arrow", {"train": ROWS}, ROWS)
    small = tmp_path / "small"
    path, data = small / "train/00000.arrow", (small / "train/00000.arrow").read_bytes()
    parts = read_manifest(small).splits["train"].shards[0].parts
    start = min(extent.offset for extent in parts.values())
    found = 0
    for part, extent in parts.items():
        for which in (0, 8):
            place = data.find((extent.offset - start).to_bytes(8, "little") + extent.bytes.to_bytes(8, "little"))
            if place < 0 or part == "example_id":  # (padded lengths are written as they are)
                continue
            found += 1
            changed = bytearray(data)
            changed[place + which : place + which + 8] = number.to_bytes(8, "little", signed=True)
            path.write_bytes(changed)
            seal_shard(small, "train/00000.arrow", moved=False)
            assert " is damaged (" in problem(small)
            if number > 0 and which == 0:
                seal(small, lambda value, part=part: first(value)["parts"][part].update(offset=start + number))
                assert " is damaged (" in problem(small)
                seal(small, lambda value, part=part, old=extent: first(value)["parts"][part].update(offset=old.offset))
    assert found > 10


# --- the teacher ---------------------------------------------------------------------------------------------


def with_config(cache: Path, name: str = "config.json", **changed: object) -> None:
    path = cache / "teacher" / name
    value = json.loads(path.read_text()) | changed
    path.write_text(json.dumps({key: item for key, item in value.items() if item is not ...}))
    seal_teacher(cache)


CONFIGS = {
    "code": ({"auto_map": {"AutoConfig": "code.Config"}}, "config.json asks for code of its own (auto_map)"),
    "code deep down": ({"text_config": {"auto_map": {}}}, "config.json asks for code of its own (auto_map)"),
    "kernels": ({"attn_implementation": "a/b"}, "config.json asks for code of its own (attn_implementation)"),
    "kernels, privately": ({"_attn_implementation": "a/b"}, "asks for code of its own (_attn_implementation)"),
    "another model": ({"model_type": "roberta"}, "config.json has model_type roberta, not bert"),
    "an unknown model": ({"model_type": "none"}, "model type `none`"),
    "no model": ({"model_type": ...}, "Unrecognized model"),
    "giant": ({"hidden_size": 10**9}, "hidden_size of config.json is 1000000000"),
    "large": ({"hidden_size": 10**7}, "config.json has hidden_size 10000000, not 32"),
    "wide inside": ({"intermediate_size": 10**7}, "intermediate.dense.weight is F32 [64, 32], not (10000000, 32)"),
    "a million layers": ({"num_hidden_layers": 10**6}, "num_hidden_layers of config.json is 1000000"),
    "a hundred layers": ({"num_hidden_layers": 100}, "config.json says 100 layers, and there are 4"),
    "no layers": ({"num_hidden_layers": 0}, "bert is not a stack of encoder layers"),
    "text for layers": ({"num_hidden_layers": "4"}, "num_hidden_layers"),
    "a decoder": ({"is_encoder_decoder": True}, "bert is not a stack of encoder layers"),
    "a billion labels": ({"id2label": ..., "num_labels": 10**9}, "num_labels of config.json is 1000000000"),
    "millions of layers inside": ({"text_config": {"n_layers": [1, 10**6]}}, "n_layers of config.json is 1000000"),
    "three labels": ({"id2label": {"0": "a", "1": "b", "2": "c"}}, "config.json has num_labels 3, not 2"),
    "a small vocabulary": ({"vocab_size": 10}, "config.json has 10 token ids, and the rows may use 32"),
    "a large vocabulary": ({"vocab_size": 10**6}, "word_embeddings.weight is F32 [32, 32], not (1000000, 32)"),
    "few positions": ({"max_position_embeddings": 8}, "config.json has 8 positions, and the rows may use 128"),
    "one token type": ({"type_vocab_size": 1}, "config.json has 1 token types, and the rows may use 2"),
    "heads": ({"num_attention_heads": 7}, "heads"),
    "activation": ({"hidden_act": "__import__"}, "__import__"),
    "dropout": ({"hidden_dropout_prob": 7.0}, "dropout"),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_a_configuration_made_to_do_harm(cache, refused, name):
    changed, text = CONFIGS[name]
    with_config(cache, **changed)
    line = refused(cache)
    assert line.startswith(f"Error: {cache}/teacher: the teacher in this cache is damaged (")
    assert text in line and line.endswith(f"See: python cli.py cache verify {cache}")


@pytest.mark.parametrize(
    "changed", [{"auto_map": {"AutoTokenizer": ["code.T", None]}}, {"tokenizer_file": "/etc/passwd"}]
)
def test_a_tokenizer_that_asks_for_code_or_files(cache, refused, changed):
    with_config(cache, "tokenizer_config.json", **changed)
    assert f"({'tokenizer_config.json'} " in refused(cache)


BOMBS = {
    "deep": "[" * 100_000,
    "deep object": '{"a":' * 100_000 + "1" + "}" * 100_000,
    "wide": "[" + "[]," * 1_000_000 + "[]]",
    "wide text": "[" + '"ab",' * 600_000 + '"ab"]',
    "large": "[" + " " * (70 * 2**20) + "]",
    "long number": '{"a": ' + "1" * 100_000 + "}",
    "no text": "\ud800",
}


@pytest.mark.parametrize("file", ["manifest.json", "teacher/config.json", "teacher/tokenizer_config.json"])
@pytest.mark.parametrize("bomb", BOMBS)
def test_json_bombs(cache, refused, file, bomb):
    (cache / file).write_bytes(BOMBS[bomb].encode(errors="surrogatepass"))
    if file != "manifest.json":
        seal_teacher(cache)
    line = refused(cache)
    assert line.startswith(f"Error: {cache}/{file.partition('/')[0]}") and "is damaged (" in line


@pytest.mark.parametrize("bomb", BOMBS)
@pytest.mark.parametrize("where", ["made", "fields", "labels"])
def test_json_bombs_in_a_sealed_manifest(cache, refused, where, bomb):
    text = (cache / "manifest.json").read_text()
    hole = {"made": '"made": {', "fields": '"fields": {', "labels": '"labels": ['}[where]
    filled = text.replace(hole, f"{hole}{BOMBS[bomb]}," if where == "labels" else f'{hole}"bomb": {BOMBS[bomb]},', 1)
    seal_text(cache, filled.rpartition(',\n "digest": "')[0])
    assert f"{cache}/manifest.json is damaged (" in refused(cache)


def test_a_tokenizer_that_is_a_bomb_is_not_read(cache, call, in_directory):
    """Training needs no tokenizer: it is copied to the student, as the manifest's bytes."""
    (cache / "teacher" / "tokenizer.json").write_text("[" * 100_000)
    seal_teacher(cache)
    assert call("train-student", "--cache", cache, "--out", "out", *SHORT).code == 0
    line = call("train-student", "--cache", cache, "--out", "two", "--init", cache / "teacher", *SHORT)
    assert line.code == 2 and "cannot be loaded" in line.error and not Path("two").exists()


class Harm:
    def __reduce__(self):
        return (Path("harm").touch, ())


def weights_of(cache: Path, change: Callable[[dict], dict]) -> None:
    path = cache / "teacher" / "layer-01.safetensors"
    save_file(change(load_file(path)), path, metadata={"format": "pt"})
    seal_teacher(cache)


WEIGHTS = {
    "pickle": lambda cache: (cache / "teacher/layer-01.safetensors").write_bytes(pickle.dumps(Harm())),
    "torch pickle": lambda cache: torch.save({"a": Harm()}, cache / "teacher/layer-01.safetensors"),
    "empty": lambda cache: (cache / "teacher/layer-01.safetensors").write_bytes(b""),
    "huge header": lambda cache: (cache / "teacher/layer-01.safetensors").write_bytes(b"\xff" * 7 + b"\x7f{}"),
    "other shapes": lambda cache: weights_of(cache, lambda t: {k: v[:1].contiguous() for k, v in t.items()}),
    "other types": lambda cache: weights_of(cache, lambda t: {k: v.half() for k, v in t.items()}),
    "missing": lambda cache: weights_of(cache, lambda t: dict(list(t.items())[1:])),
    "another file": lambda cache: index_of(cache, lambda name: "../../small/x.safetensors"),
    "absolute": lambda cache: index_of(cache, lambda name: "/etc/passwd.safetensors"),
    "a pickle file": lambda cache: index_of(cache, lambda name: "pytorch_model.bin"),
    "no name": lambda cache: index_of(cache, lambda name: None),
    "no such file": lambda cache: index_of(cache, lambda name: "layer-99.safetensors"),
}


def index_of(cache: Path, change: Callable[[str], object]) -> None:
    path = cache / "teacher" / "model.safetensors.index.json"
    value = json.loads(path.read_text())
    value["weight_map"] = {name: change(name) for name in value["weight_map"]}
    path.write_text(json.dumps(value))


@pytest.mark.parametrize("name", WEIGHTS)
def test_weights_that_are_none(cache, refused, in_directory, name):
    WEIGHTS[name](cache)
    seal_teacher(cache)
    line = refused(cache)
    assert line.startswith(f"Error: {cache}/teacher: the teacher in this cache is damaged (")
    assert not (in_directory / "harm").exists()


HARM_IN_SAMPLING = {
    "labels": lambda cache: with_config(cache, id2label=..., num_labels=10**9),
    "layers": lambda cache: with_config(cache, num_hidden_layers=10**6),
    "kernels": lambda cache: with_config(cache, attn_implementation="a/b"),
    "outside": lambda cache: index_of(cache, lambda name: "../../other/teacher/layer-01.safetensors"),
    "pickle": WEIGHTS["torch pickle"],
}


@pytest.mark.parametrize("name", HARM_IN_SAMPLING)
def test_a_teacher_that_is_run_again_on_a_sample(cache, tiny, tmp_path, call, in_directory, name):
    """`cache verify --sample` loads all of the teacher."""
    (tmp_path / "other").symlink_to(tiny.arrow)
    HARM_IN_SAMPLING[name](cache)
    seal_teacher(cache)
    result = call("cache", "verify", cache, "--sample", 5)
    assert result.code == 2 and "Traceback" not in result.stderr and not (in_directory / "harm").exists()
    assert f"{cache}/teacher" in result.error and result.error.isprintable()
