"""Mappings keep no descriptor, and live as long as a view of them."""

import mmap

import numpy as np
import pytest

from pipeline.system.mapped_files import map_file, open_mapping
from tests.helpers.limits import open_files_left


def test_mappings_keep_no_file_open(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * 64)
    with open_files_left(1):
        views = [map_file(path)[0][4:9] for _ in range(50)]  # of each mapping only a view is left
    assert all(view.tolist() == [4, 5, 6, 7, 8] and not view.flags.writeable for view in views)


def test_a_mapping_takes_advice_and_refuses_more_than_its_pages(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"x" * (3 * mmap.PAGESIZE))
    mapping, state = open_mapping(path)
    mapping.advise(mmap.MADV_RANDOM, 0, 10 * mmap.PAGESIZE)
    with pytest.raises(OSError, match="Invalid argument"):
        mapping.advise(mmap.MADV_WILLNEED, 1, 8)
    assert np.asarray(mapping).shape == (3 * mmap.PAGESIZE,) and state[2] == 3 * mmap.PAGESIZE


def test_what_is_no_file_with_bytes_is_refused(tmp_path):
    (tmp_path / "empty").touch()
    with pytest.raises(ValueError, match="it is empty"):
        map_file(tmp_path / "empty")
    with pytest.raises(ValueError, match="not a regular file"):
        map_file(tmp_path)
    (tmp_path / "link").symlink_to("empty")
    with pytest.raises(OSError, match="symbolic links"):
        map_file(tmp_path / "link")
