"""The study of a sweep."""

import pytest

from pipeline.errors import BadRun
from stages.sweep.search.study import Study, categories


def test_categories_leave_out_options_without_meaning():
    domains = categories([{"method": "kd", "beta": None}, {"method": "pkd-skip", "beta": 1.0}], ("kd",))
    assert {name: domain.choices for name, domain in domains.items()} == {"method": ("kd", "pkd-skip"), "beta": (1.0,)}


def test_study_that_has_not_started_is_refused(tmp_path):
    with pytest.raises(BadRun, match="its search has not started yet"):
        Study(tmp_path, write=False)
