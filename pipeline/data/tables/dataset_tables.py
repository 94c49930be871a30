"""Data sets of the library `datasets`, as tables: of the hub, of a directory, or saved to disk."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.data.tables.cells import Cell, read_cells
from pipeline.data.tables.columns import Wanted, typed_name
from pipeline.data.tables.faults import Faults
from pipeline.data.tables.places import name_of
from pipeline.data.tasks import DEV, TEST, TRAIN, role_of
from pipeline.errors import BadRows, DistillError, HubUnreachable, one_line
from pipeline.system import hub

BATCH_ROWS = 1000
_SAVED = ("state.json", "dataset_dict.json")  # of `save_to_disk`: of one data set, of one with several splits
_DEV_NAME = re.compile(r"(validation|valid|val|dev)(?=_|$)")
DatasetRow = tuple[int, tuple[Cell, ...]]


def is_saved_dataset(place: str) -> bool:
    """Return whether a place is a directory that `datasets.save_to_disk` wrote."""
    return any(Path(place, name).is_file() for name in _SAVED)


def split_of(name: str) -> str:
    """Return what a split of a data set is called here: dev_matched for validation_matched."""
    return _DEV_NAME.sub(DEV, name)


def load_dataset(name: str) -> dict[str, Any]:
    """Return {split: data set} of NAME, NAME:CONFIG, or a directory. Raises `BadRows`, `HubUnreachable`."""
    import datasets

    datasets.disable_progress_bars()
    is_path = Path(name).exists()
    if Path(name).is_file():
        raise BadRows(f"{name_of(name)} is a file: name it with --train-file")
    path, _, configuration = (name, "", "") if is_path or ":" not in name else name.rpartition(":")
    if not is_path and not Path(path).exists():
        if hub.looks_like_path(path):
            raise BadRows(hub.no_such_directory(path))
        datasets.config.HF_HUB_OFFLINE = not hub.reachable()  # what was downloaded earlier serves without the hub
    try:
        if is_saved_dataset(path):
            loaded = datasets.load_from_disk(path)
        elif splits := _saved_splits(path):
            loaded = {split: datasets.load_from_disk(directory) for split, directory in splits.items()}
        else:
            loaded = datasets.load_dataset(path, configuration or None)
    except DistillError:
        raise
    except ConnectionError as error:
        raise HubUnreachable(
            f"the data set {name_of(name)} could not be downloaded ({type(error).__name__}). Check the connection, or "
            "name a directory of it"
        ) from error
    except Exception as error:  # the library and its readers raise a dozen kinds: for names, configurations and files
        raise BadRows(
            f"the data set {name_of(name)} could not be loaded ({one_line(error)}). Check the name; a configuration "
            "follows a colon: --dataset NAME:CONFIG"
        ) from error
    return dict(loaded) if isinstance(loaded, dict) else {"train": loaded}


def _saved_splits(path: str) -> dict[str, str]:
    """Return {split: directory} of a directory in which each split was saved; empty for one without saved data sets.

    Raises `BadRows` for a directory of saved data sets that are not the splits of one.
    """
    directories = {file.parent for name in _SAVED for file in Path(path).rglob(name)}
    saved = sorted(directory for directory in directories if not directories & set(directory.parents))
    if not saved:
        return {}
    splits = {split_of(directory.name) for directory in saved if directory.parent == Path(path)}
    if len(splits) == len(saved) and all(role_of(split) in (TRAIN, DEV, TEST) for split in splits):
        return {directory.name: str(directory) for directory in saved}
    names = one_line(", ".join(directory.name for directory in saved))
    example = f"Name one of them: --dataset {shlex.quote(name_of(str(saved[0])))}"
    if len(saved) > 1:
        example += ". If they are the splits of one, call them train, validation and test"
    raise BadRows(f"{name_of(path)} holds saved data sets ({names}) and is not one. {example}")


def read_saved_dataset(place: str, wanted: Wanted, faults: Faults) -> Iterator[DatasetRow]:
    """Yield the rows of a directory that holds one saved data set. Raises `BadRows` for one of several splits."""
    splits = load_dataset(place)
    if Path(place, "dataset_dict.json").is_file():
        names = one_line(", ".join(splits))
        raise BadRows(f"{name_of(place)} holds the splits {names}: name it with --dataset instead")
    yield from read_dataset(place, splits["train"], wanted, faults)


def read_dataset(place: str, data: Any, wanted: Wanted, faults: Faults) -> Iterator[DatasetRow]:
    """Yield the rows of a data set, from 1; classes, numbers in the data set, have their names here."""
    positions = wanted.positions(place, data.column_names)
    names = [None if position is None else data.column_names[position] for position in positions]
    present = [name for name in names if name is not None]
    classes = {name: class_names(data, name) for name in present}
    number = 0
    for table in data.select_columns(present).with_format("arrow").iter(BATCH_ROWS):
        columns = {name: _named(table.column(name).to_pylist(), classes[name]) for name in present}
        for values in zip(*(columns.get(name, [None] * len(table)) for name in names), strict=True):
            number += 1
            if (cells := read_cells(place, number, wanted, values, faults)) is not None:
                yield number, cells


def class_names(data: Any, column: str) -> tuple[str, ...]:
    """Return the names of the classes of a column, or of the items of its lists; none if it does not have classes."""
    feature = next((kind for name, kind in data.features.items() if column in (name, typed_name(name))), None)
    if isinstance(feature, list):
        feature = feature[0]
    return tuple(getattr(getattr(feature, "feature", feature), "names", ()) or ())


def _named(values: list[Any], names: tuple[str, ...]) -> list[Any]:
    """Return the names of classes, null for -1, which marks rows without a label."""
    if not names:
        return values

    def name(value: Any) -> Any:
        if isinstance(value, list):
            return [name(item) for item in value]
        return None if value is None or value < 0 else names[value]

    return [name(value) for value in values]
