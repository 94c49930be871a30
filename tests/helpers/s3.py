"""A real S3 server for tests: `rclone serve s3` on a loopback port, its buckets directories; and a relay in between."""

import contextlib
import itertools
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import s3fs

from tests.helpers.waiting import wait_until

KEYS = {"anna": "anna-secret", "ben": "ben-secret"}
_numbers = itertools.count()


class Server:
    """Serves the directories in `root` as buckets to the users in KEYS."""

    def __init__(self, root: Path):
        self.root, self.port = root, 0
        self.process: subprocess.Popen | None = None

    def start(self) -> None:
        """Start it on a port that the system chooses, and return once it listens."""
        binary = Path(sys.executable).with_name("rclone")
        command = [str(binary) if binary.exists() else shutil.which("rclone"), "serve", "s3", str(self.root)]
        command += ["--addr", "127.0.0.1:0", "--config", ""]
        command += [word for key, secret in KEYS.items() for word in ("--auth-key", f"{key},{secret}")]
        log = self.root.with_name(f"{self.root.name}.log")
        with log.open("w") as file:
            self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=file)
        started = re.compile(r"Starting s3 server on \[http://127\.0\.0\.1:(\d+)/\]")
        assert wait_until(lambda: started.search(log.read_text()), 60, self.process), log.read_text()
        self.port = int(started.search(log.read_text())[1])  # type: ignore[index]

    def kill(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()

    def is_served(self, ports: set[int]) -> bool:
        """Whether the server still has a connection from one of these ports: what it was sent may yet be written."""
        assert self.process
        connections = psutil.Process(self.process.pid).net_connections("tcp")
        return any(connection.raddr and connection.raddr.port in ports for connection in connections)


class Relay:
    """Between clients and the server. `passed` counts the bytes that went either way.

    After `hold_after` of them nothing more passes; after `cut_after` every connection is closed, once, and if
    `refuse` is set no new one is taken.
    """

    def __init__(self, server: Server):
        self.server, self.passed = server, 0
        self.hold_after: int | None = None
        self.cut_after: int | None = None
        self.refuse = False
        self._open: set[socket.socket] = set()
        self._ports: set[int] = set()  # of all connections to the server
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if self.refuse:
                    client.close()
                    continue
                try:
                    server = socket.create_connection(("127.0.0.1", self.server.port))
                except OSError:
                    client.close()
                    continue
                self._open |= {client, server}
                self._ports.add(server.getsockname()[1])
                threading.Thread(target=self._pass, args=(client, server), daemon=True).start()
                threading.Thread(target=self._pass, args=(server, client), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(4096):
                with self._lock:
                    if self.hold_after is not None and self.passed + len(data) > self.hold_after:
                        break  # the connection stays open and silent
                    if self.cut_after is not None and self.passed > self.cut_after:
                        self.cut_after = None
                        self.cut()
                        break
                    self.passed += len(data)
                target.sendall(data)
            else:
                with contextlib.suppress(OSError):
                    target.shutdown(socket.SHUT_WR)

    def cut(self) -> None:
        for end in list(self._open):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self._open.clear()

    def settle(self) -> None:
        """Close every connection, and return when the server has ended its part of each: a client that was killed may
        have sent more than the server has written yet.
        """
        self.cut()
        wait_until(lambda: not self.server.is_served(self._ports))
        self._ports.clear()

    def close(self) -> None:
        self._listener.close()
        self.cut()


def environment(port: int, user: str = "anna") -> dict[str, str]:
    return {
        "AWS_ACCESS_KEY_ID": user,
        "AWS_SECRET_ACCESS_KEY": KEYS.get(user, "no-such-secret"),
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
    }


@pytest.fixture(scope="session")
def server(tmp_path_factory) -> Iterator[Server]:
    made = Server(tmp_path_factory.mktemp("s3"))
    made.start()
    yield made
    made.kill()


@pytest.fixture
def s3(server, monkeypatch) -> Iterator[SimpleNamespace]:
    """A bucket of one's own: `url`, its `directory`, the `relay` to it; `become(user)` changes who asks; `store` is
    the server's file system."""
    name = f"bucket-{next(_numbers)}"
    directory = server.root / name
    store = s3fs.S3FileSystem(
        key="anna", secret=KEYS["anna"], endpoint_url=f"http://127.0.0.1:{server.port}", skip_instance_cache=True
    )
    store.mkdir(name)  # by the server: it would not look for one that is made behind its back
    relay = Relay(server)

    def become(user: str, port: int = relay.port) -> None:
        for variable in [variable for variable in os.environ if variable.startswith("AWS_")]:
            monkeypatch.delenv(variable)
        for variable, value in environment(port, user).items():
            monkeypatch.setenv(variable, value)

    become("anna")
    yield SimpleNamespace(url=f"s3://{name}", directory=directory, relay=relay, become=become, store=store)
    relay.close()


def files_of(directory: Path) -> dict[str, bytes]:
    """The bytes of every file in a directory, by its path in it."""
    return {str(p.relative_to(directory)): p.read_bytes() for p in sorted(directory.rglob("*")) if p.is_file()}
