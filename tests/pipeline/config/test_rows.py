"""The options that name row files."""

import dataclasses

from pipeline.config.rows import ROW_PATHS, MovedRowsConfig


def test_row_paths_are_the_options_that_are_paths():
    assert ROW_PATHS == ("data_dir", "train_file", "dev_file", "test_file", "dataset", "unlabelled_file")


def test_moved_rows_have_an_option_for_each_path():
    assert {field.name for field in dataclasses.fields(MovedRowsConfig)} == set(ROW_PATHS)
