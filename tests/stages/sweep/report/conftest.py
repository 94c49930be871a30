"""The page of a sweep, written and parsed."""

import pytest

from stages.sweep.report.page import write_page
from tests.helpers.sweep_pages import Page


@pytest.fixture
def page(tmp_path):
    def written(record):
        write_page(record, tmp_path / "sweep.html")
        return Page(tmp_path / "sweep.html")

    return written
