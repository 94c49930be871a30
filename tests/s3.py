"""A real S3 server for tests: `rclone serve s3` on a loopback port, its buckets directories."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

KEYS = {"anna": "anna-secret", "ben": "ben-secret"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """Serves the directories in `root` as buckets to the users in KEYS. `log` has one line a request."""

    def __init__(self, root: Path):
        self.root = root
        self.port = free_port()
        self.log = root.with_suffix(".log")
        self.process: subprocess.Popen | None = None
        root.mkdir(parents=True, exist_ok=True)

    def start(self) -> "Server":
        binary = Path(sys.executable).with_name("rclone")
        command = [str(binary) if binary.exists() else shutil.which("rclone"), "serve", "s3", str(self.root)]
        command += ["--addr", f"127.0.0.1:{self.port}", "--config", "", "--dir-cache-time", "0s", "-vv"]
        command += [word for key, secret in KEYS.items() for word in ("--auth-key", f"{key},{secret}")]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=self.log.open("ab"))
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return self
            time.sleep(0.02)
        raise TimeoutError(self.log.read_text())

    def kill(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None

    def bucket(self, name: str) -> Path:
        (self.root / name).mkdir()
        return self.root / name

    def environment(self, user: str = "anna") -> dict[str, str]:
        return {
            "AWS_ACCESS_KEY_ID": user,
            "AWS_SECRET_ACCESS_KEY": KEYS.get(user, "no-such-secret"),
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}",
        }


@contextlib.contextmanager
def serving(root: Path) -> Iterator[Server]:
    server = Server(root).start()
    try:
        yield server
    finally:
        server.kill()


def clean_environment(**variables: str) -> dict[str, str]:
    """For a process of its own: this one's without its AWS variables, and with these."""
    return {name: value for name, value in os.environ.items() if not name.startswith("AWS_")} | variables
