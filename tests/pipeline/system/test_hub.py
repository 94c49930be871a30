"""Paths, as against names on the hub."""

import pytest

from pipeline.errors import BadModel
from pipeline.models.checkpoints import locate
from pipeline.system.hub import looks_like_path, no_such_directory


def test_path_is_told_from_a_name_of_the_hub(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    for path in ("./bert", "../bert", "..", "/models/bert", "~/bert", "runs/bert", "a/b/c", f"{tmp_path}/bert"):
        assert looks_like_path(path)
    for name in ("bert-base-uncased", "owner/bert", ".hidden", "runs"):
        assert not looks_like_path(name)


def test_missing_directory_of_a_model_is_called_one(tmp_path):
    with pytest.raises(BadModel) as error:
        locate(f"{tmp_path}/bert")
    assert str(error.value) == f"there is no directory {tmp_path}/bert. Check the path"
    assert no_such_directory("~/bert") == "there is no directory ~/bert. Write the whole path: ~ is not replaced here"
    assert locate("owner/bert") == "owner/bert"
