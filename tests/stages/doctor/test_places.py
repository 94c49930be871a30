"""Places: a store that cannot be one, a full disk, one that cannot be written, one of another machine."""

import os
import shutil
import tempfile
from types import SimpleNamespace

import pytest

from stages.doctor import places


def test_store_that_is_a_file_or_a_dangling_link_is_a_problem(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "nothing")
    for name, noun in (("file", "a file"), ("link", "a link to nothing")):
        monkeypatch.setenv("PKD_STORE", str(tmp_path / name))
        [check] = places.store()
        assert check.state == "problem" and check.found.endswith(f"{name} is {noun}")
        assert check.advice == "export PKD_STORE=/another/directory"


def test_size_of_the_store_is_counted(tmp_path, monkeypatch):
    (tmp_path / "verified").mkdir()
    (tmp_path / "verified/record").write_bytes(b"x" * 5000)
    monkeypatch.setenv("PKD_STORE", str(tmp_path))
    [check] = places.store()
    assert f"{tmp_path}, 5.0 kB of at most 50 GB" in check.found


@pytest.mark.parametrize(("free", "state"), [(10**8, "problem"), (10**9, "note"), (10**10, "ok")])
def test_state_of_a_disk_follows_from_its_room(tmp_path, monkeypatch, free, state):
    monkeypatch.setattr(shutil, "disk_usage", lambda _place: SimpleNamespace(free=free))
    monkeypatch.setattr(places, "_file_system", lambda _place: "ext4")
    check = places.disk("disk", tmp_path / "not/there/yet", "runs/", "Use --out")
    assert check.state == state and (check.advice is None) == (state == "ok")


def test_place_that_cannot_be_written_is_a_problem_and_a_shared_one_a_note(tmp_path, monkeypatch):
    monkeypatch.setattr(places, "_file_system", lambda _place: "nfs4")
    assert places.disk("disk", tmp_path, "runs/", "Use --out").state == "note"
    monkeypatch.setattr(os, "access", lambda *_: False)
    check = places.disk("disk", tmp_path, "runs/", "Use --out")
    assert check.state == "problem" and check.found.endswith("it cannot be written") and check.advice == "Use --out"


def test_working_directory_that_was_removed_is_a_problem(tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    [check] = places.disks()
    assert (check.state, check.found) == ("problem", "the working directory was removed")


def test_file_where_commands_would_make_a_directory_is_a_problem(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").write_text("")
    found = {check.found: check for check in places.disks()}
    check = found["runs is a file, not a directory"]
    assert (check.state, check.advice) == ("problem", "Name directories elsewhere with --out")
    assert any(text.startswith("data/, sweeps/: ") for text in found)


def test_directory_for_temporary_files_that_python_does_not_take_is_a_note(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "nothing"))
    check = list(places.disks())[-1]
    fact = f"TMPDIR={tmp_path}/nothing is not a directory that can be written: {tmp_path} is used"
    assert (check.name, check.state, check.found) == ("temporary", "note", fact)

    def fails():
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr(tempfile, "gettempdir", fails)
    check = list(places.disks())[-1]
    assert (check.state, check.found) == ("problem", "no directory for temporary files can be written")
