"""All containers through one suite."""

import subprocess
import sys

import h5py
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.cache.format.columns import check_columns, column_types
from pipeline.cache.format.containers import CONTAINERS
from pipeline.config.shared import CONTAINER_NAMES
from pipeline.data.ragged import Ragged
from pipeline.data.texts import encode_texts, text_hashes
from pipeline.system.mapped_files import map_file
from tests.helpers.paths import ROOT

each = pytest.mark.parametrize("name", CONTAINERS)


def types(dtype="float16", regression=False, token_types=True):
    return column_types(
        num_logits=1 if regression else 3,
        label_dtype="float32" if regression else "int64",
        token_types=token_types,
        layers=(1, 3),
        hidden=5,
        dtype=dtype,
    )


def columns(rows, seed=0, dtype="float16", regression=False):
    draw = np.random.default_rng(seed)
    input_ids = Ragged.from_lists([draw.integers(0, 99, draw.integers(1, 9)) for _ in range(rows)], np.int32)
    return {
        "example_id": np.arange(rows),
        "row_hash": draw.integers(0, 256, (rows, 16), np.uint8),
        "input_ids": input_ids,
        "token_type_ids": Ragged(draw.integers(0, 2, input_ids.offsets[-1]).astype(np.int8), input_ids.offsets),
        "label": draw.random(rows, np.float32) if regression else draw.integers(-1, 3, rows),
        "logits": draw.random((rows, 1 if regression else 3), np.float32),
        "cls_01": draw.random((rows, 5)).astype(dtype),
        "cls_03": draw.random((rows, 5)).astype(dtype),
    }


def read(name, path, kinds, rows):
    """The columns of a file, at the places where its container says they lie."""
    data, places = map_file(path)[0], CONTAINERS[name].layout(path, kinds, rows)
    parts = {part: data[start : start + size] for part, (start, size) in places.items()}
    return {c: kind.view(c, [parts[part] for part in kind.parts(c)], rows) for c, kind in kinds.items()}


def test_options_name_the_containers_of_the_table():
    assert tuple(CONTAINERS) == CONTAINER_NAMES
    assert len({container.suffix for container in CONTAINERS.values()}) == len(CONTAINERS)


@pytest.mark.process
def test_arrow_caches_do_not_import_h5py():
    code = (
        "import sys; from pathlib import Path; import stages.train_student, pipeline.cache.leftovers\n"
        "from pipeline.cache.format.containers import CONTAINERS\n"
        "try: CONTAINERS['arrow'].layout(Path('absent'), {}, 1)\n"
        "except OSError: pass\n"
        "assert 'pipeline.cache.format.arrow' in sys.modules and 'h5py' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def same(a, b):
    if isinstance(a, Ragged):
        return np.array_equal(a.values, b.values) and np.array_equal(a.offsets, b.offsets)
    return a.dtype == b.dtype and np.array_equal(a, b)


@each
@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 40), st.integers(0, 99), st.sampled_from(["float16", "float32"]), st.booleans())
def test_what_is_written_is_read(name, tmp_path, rows, seed, dtype, regression):
    container = CONTAINERS[name]
    path = tmp_path / f"shard{container.suffix}"
    written = columns(rows, seed, dtype, regression)
    container.write(path, written)
    found = read(name, path, types(dtype, regression), rows)
    check_columns(found, types(dtype, regression), rows)
    assert set(found) == set(written) and all(same(written[c], found[c]) for c in written)


@each
def test_the_same_columns_are_the_same_bytes(name, tmp_path):
    container = CONTAINERS[name]
    for file in ("a", "b"):
        container.write(tmp_path / file, columns(20))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@each
def test_columns_are_views_of_the_mapped_file(name, tmp_path):
    container = CONTAINERS[name]
    container.write(tmp_path / "shard", columns(20))
    for column in read(name, tmp_path / "shard", types(), 20).values():
        array = column.values if isinstance(column, Ragged) else column
        assert not array.flags.owndata and not array.flags.writeable


@each
@pytest.mark.parametrize("damage", [b"", b"garbage" * 50])
def test_what_is_no_shard(name, tmp_path, damage):
    path = tmp_path / "shard"
    path.write_bytes(damage)
    with pytest.raises((ValueError, OSError)):
        CONTAINERS[name].layout(path, types(), 20)


@each
def test_a_shard_of_other_rows_or_columns(name, tmp_path):
    path = tmp_path / "shard"
    CONTAINERS[name].write(path, columns(20))
    for kinds, rows in ((types(), 21), (types("float32"), 20), (types(token_types=False), 20)):
        with pytest.raises(ValueError):
            CONTAINERS[name].layout(path, kinds, rows)


def test_an_arrow_file_that_is_compressed_has_nulls_or_several_batches(tmp_path):
    CONTAINERS["arrow"].write(tmp_path / "good", columns(20))
    with pa.OSFile(str(tmp_path / "good")) as file:
        batch = pa.ipc.open_file(file).get_batch(0)
    label = batch.schema.get_field_index("label")
    with_null = batch.set_column(label, "label", pa.array([None, *batch["label"].to_pylist()[1:]], pa.int64()))
    compressed = pa.ipc.IpcWriteOptions(compression="zstd")
    for batches, options in (([batch], compressed), ([batch, batch], None), ([with_null], None)):
        with (
            pa.OSFile(str(tmp_path / "bad"), "wb") as sink,
            pa.ipc.new_file(sink, batch.schema, options=options) as writer,
        ):
            for one in batches:
                writer.write_batch(one)
        with pytest.raises(ValueError):
            CONTAINERS["arrow"].layout(tmp_path / "bad", types(), 20)


def links_to(path, other):
    """Data sets of an HDF5 file that lie in another file, or are not in one piece."""
    yield "external link", lambda file: file.__setitem__("logits", h5py.ExternalLink(str(other), "/logits"))
    yield "soft link", lambda file: file.__setitem__("logits", h5py.SoftLink("/cls_01"))
    outside = [(str(other), 0, 240)]
    yield "external storage", lambda file: file.create_dataset("logits", (20, 3), "float32", external=outside)
    virtual = h5py.VirtualLayout((20, 3), "float32")
    virtual[:] = h5py.VirtualSource(str(other), "logits", (20, 3))
    yield "virtual data set", lambda file: file.create_virtual_dataset("logits", virtual)
    yield "chunks", lambda file: file.create_dataset("logits", (20, 3), "float32", chunks=(4, 3))
    yield "wide type", lambda file: file.create_dataset("logits", data=np.zeros((20, 3)))


@pytest.mark.parametrize(
    "kind", ["external link", "soft link", "external storage", "virtual data set", "chunks", "wide type"]
)
def test_an_hdf5_data_set_that_does_not_lie_in_the_file(tmp_path, kind):
    CONTAINERS["hdf5"].write(tmp_path / "other", columns(20))
    CONTAINERS["hdf5"].write(tmp_path / "shard", columns(20))
    with h5py.File(tmp_path / "shard", "a", libver="v110") as file:
        del file["logits"]
        dict(links_to(tmp_path / "shard", tmp_path / "other"))[kind](file)
    with pytest.raises(ValueError):
        CONTAINERS["hdf5"].layout(tmp_path / "shard", types(), 20)


def text_types():
    return column_types(
        num_logits=3,
        label_dtype="int64",
        token_types=False,
        layers=(),
        hidden=5,
        dtype="float16",
        tokens=False,
        texts=2,
    )


def columns_with_texts(first, second):
    kept = {name: column for name, column in columns(len(first)).items() if name in text_types()}
    texts = {"text_1": encode_texts(first), "text_2": encode_texts(second)}
    made = kept | texts | {"row_hash": text_hashes(list(texts.values()))}
    return {name: made[name] for name in text_types()}


@each
@pytest.mark.parametrize("second", [["two", "", "drei ß"], ["", "", ""]])
def test_texts_of_different_lengths_are_read_as_written(name, tmp_path, second):
    path = tmp_path / "shard"
    written = columns_with_texts(["one", "", "Größe 你好"], second)
    CONTAINERS[name].write(path, written)
    found = read(name, path, text_types(), 3)
    check_columns(found, text_types(), 3)
    assert set(found) == set(written) and all(same(written[c], found[c]) for c in written)


def broken(name, value):
    return columns(8) | {name: value}


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (broken("cls_01", np.zeros((8, 5))), "column cls_01 is float64[8, 5], not float16[8, 5]"),
        (broken("logits", np.zeros((8, 2), np.float32)), "column logits is float32[8, 2], not float32[8, 3]"),
        (broken("label", np.zeros(7, np.int64)), "column label is int64[7], not int64[8]"),
        (
            broken("input_ids", Ragged(np.zeros(8, np.int32), np.array([0, 5, 2, 3, 4, 5, 6, 7, 8]))),
            "column input_ids is not a sound ragged column of 8 rows of int32",
        ),
        (
            broken("input_ids", Ragged(np.zeros(8, np.int32), np.arange(9.0))),
            "column input_ids is not a sound ragged column of 8 rows of int32",
        ),
        (
            broken("input_ids", Ragged(np.zeros(8, np.int32), np.arange(9))),
            "the ragged columns differ in the lengths of their rows",
        ),
    ],
)
def test_columns_of_another_type(made, text):
    with pytest.raises(ValueError) as error:
        check_columns(made, types(), 8)
    assert str(error.value) == text


def test_a_column_too_many():
    with pytest.raises(ValueError, match=r"columns are .*, not "):
        check_columns(columns(8) | {"cls_02": np.zeros((8, 5), np.float16)}, types(), 8)
