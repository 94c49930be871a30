"""Failures of a store: for want of room, on the way, and those that are this machine's."""

import errno
import os
from types import SimpleNamespace

import pytest

from pipeline.cache.remote import object_store
from pipeline.cache.remote.object_store import Remote
from pipeline.errors import BadPlace


class StatusError(Exception):
    def __init__(self, status, text=""):
        super().__init__(text)
        self.response = SimpleNamespace(status_code=status)


FULL = [
    OSError(errno.ENOSPC, "No space left on device"),
    OSError(errno.EDQUOT, "Disk quota exceeded"),
    OSError(errno.EIO, "An error occurred (XMinioStorageFull) when calling the PutObject operation"),
    StatusError(507, "Server Error: Insufficient Storage"),
    RuntimeError("QuotaExceeded: the bucket has reached its quota"),
]


def attempts(monkeypatch, error, url="memory://bucket/toy"):
    monkeypatch.setattr(object_store, "WAITS", (0.0, 0.0))
    calls = []

    def failing(_):
        calls.append(1)
        raise error

    with pytest.raises(Exception) as raised:
        Remote(url)._attempt(failing)
    return raised.value, len(calls)


@pytest.mark.parametrize("error", FULL, ids=lambda error: type(error).__name__)
def test_a_store_without_room_is_said_to_be_full_and_not_asked_again(monkeypatch, error):
    raised, calls = attempts(monkeypatch, error)
    assert isinstance(raised, BadPlace) and calls == 1
    assert str(raised) == (
        f"memory://bucket/toy has no room left ({type(error).__name__}). Make room there, then run the same command "
        "again: finished transfers are kept"
    )


@pytest.mark.parametrize(
    "error", [OSError(errno.EMFILE, "Too many open files"), ImportError("no module x"), MemoryError()]
)
def test_what_this_machine_refuses_is_not_the_store_s_fault(monkeypatch, error):
    assert attempts(monkeypatch, error) == (error, 1)


def test_a_failure_on_the_way_is_tried_again(monkeypatch):
    raised, calls = attempts(monkeypatch, OSError(errno.ECONNRESET, "Connection reset by peer"))
    assert calls == 2 and str(raised).startswith("memory://bucket/toy cannot be reached (ConnectionResetError)")


def test_a_push_to_a_directory_without_room(tiny, call, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(object_store, "_copy", full)
    url = f"file://{tmp_path}/published/toy"
    result = call("cache", "push", tiny.arrow, url)
    assert result.code == 2 and result.error == (
        f"Error: {url} has no room left (OSError). Make room there, then run the same command again: finished "
        "transfers are kept"
    )
