"""A Ray cluster: the one place where this program connects to one, or starts one of this machine.

Ray says where work runs. What it reads and writes are the files of the driver's working directory, which every node
must see at the same path, as it must see this program.
"""

import importlib
import logging
import os
import secrets
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import BadOption, BadPlace, MissingExtra, one_line
from pipeline.system.cpu import available_cores
from pipeline.system.interrupts import SIGNALS
from pipeline.system.progress import note

ROOT = Path(__file__).parents[2]
OBJECT_STORE_BYTES = 80_000_000  # nothing large goes through it, and Ray wants 75 MB
ANSWER_SECONDS = 5.0
END_SECONDS = 10.0  # that helpers may take to give back what they hold
OWN_END_SECONDS = 3.0  # that tasks have to see by themselves that the work is done
LOST_NODES = 10  # that the work of one helper may outlive


@dataclass(frozen=True)
class SharedDirectory:
    """The driver's working directory, and a file in it by which a node knows that it is the same one."""

    directory: str
    mark: str

    def enter(self) -> None:
        """Work there from now on. Raises `BadPlace` on a node that does not have it."""
        reason = "another directory is there"
        try:
            os.chdir(self.directory)
        except OSError as error:
            reason = error.strerror or str(error)
        else:
            if Path(self.mark).exists():
                return
        raise BadPlace(
            f"{self.directory} is not shared with {socket.gethostname()} ({reason}). Mount the directory of this call "
            "at the same path on every node, then run the same command again"
        )


@dataclass(frozen=True)
class Cluster:
    """Nodes to work on. `device` is what a task asks for: GPU where a node has one, else CPU."""

    ray: Any
    place: SharedDirectory
    device: str

    def nodes(self) -> dict[str, int]:
        """How many of these devices each node has now, by its id; those without any left out."""
        found = {
            node["NodeID"]: int(node["Resources"].get(self.device, 0)) for node in self.ray.nodes() if node["Alive"]
        }
        return {node: devices for node, devices in found.items() if devices}

    def asked(self, devices: float) -> dict[str, float]:
        """What Ray is to keep for a task."""
        return {"num_gpus": devices, "num_cpus": 0} if self.device == "GPU" else {"num_cpus": devices}

    @contextmanager
    def run_on_other_nodes(self, function: Callable[..., object], *arguments: object) -> Iterator[None]:
        """Meanwhile every other node does `function(place, *arguments)` with all its devices, and nodes that come later
        do so too. What was begun on a lost node another one begins again. One that fails is told of, no more.
        """
        ray, mine = self.ray, self.ray.get_runtime_context().get_node_id()
        others = [devices for node, devices in self.nodes().items() if node != mine]
        labels = importlib.import_module("ray.util.scheduling_strategies")
        where = labels.NodeLabelSchedulingStrategy(hard={"ray.io/node-id": labels.NotIn(mine)})
        tasks = [
            ray.remote(max_retries=LOST_NODES, scheduling_strategy=where, **self.asked(devices))(function).remote(
                self.place, *arguments
            )
            for devices in [*others, *[others[-1] if others else 1] * waiting(len(others))]
        ]
        note(f"shared with {len(others)} other nodes, and with those that come")
        ended = threading.Event()
        watcher = threading.Thread(target=_tell_failures, args=(ray, tasks, ended), daemon=True)
        watcher.start()
        try:
            yield
        finally:
            ended.set()
            watcher.join()
            # Ray 2.60 aborts this process where a task ends in the moment in which it is cancelled
            _, left = ray.wait(tasks, num_returns=len(tasks), timeout=OWN_END_SECONDS)
            for task in left:
                ray.cancel(task)
            if left:
                ray.wait(left, num_returns=len(left), timeout=END_SECONDS)


def waiting(running: int) -> int:
    """Tasks to submit above those that the nodes hold: an autoscaler starts nodes for tasks that wait, so this is by
    how much it may grow at a time.
    """
    return max(2, running // 2)


def _tell_failures(ray: Any, tasks: list[Any], ended: threading.Event) -> None:
    left = list(tasks)
    while left and not ended.is_set():
        done, left = ray.wait(left, timeout=0.5)
        for task in done:
            try:
                ray.get(task)
            except ray.exceptions.RayError as error:
                note(f"a node does not help: {failure(error)}")


def failure(error: Exception) -> str:
    """What went wrong in a task, or with it, in one line."""
    cause = getattr(error, "cause", None) or error
    return one_line(cause if isinstance(cause, BadPlace) else f"{type(cause).__name__}: {cause}", 400)


@contextmanager
def cluster(address: str | None) -> Iterator[Cluster]:
    """The cluster at `address`, or at RAY_ADDRESS; else one of this machine, which ends with it.

    Raises `MissingExtra` without Ray, `BadOption` for an address at which no cluster answers.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # else Ray warns of it
    try:
        ray = importlib.import_module("ray")
    except ImportError as error:
        raise MissingExtra("--engine ray needs the package ray: pip install '.[ray]'") from error
    with _marked() as place:
        _connect(ray, address or os.environ.get("RAY_ADDRESS") or "local")
        try:
            yield Cluster(ray, place, "GPU" if ray.cluster_resources().get("GPU") else "CPU")
        finally:
            ray.shutdown()


@contextmanager
def _marked() -> Iterator[SharedDirectory]:
    mark = Path.cwd() / f".ray-{secrets.token_hex(8)}"
    mark.touch()
    try:
        yield SharedDirectory(str(Path.cwd()), mark.name)
    finally:
        mark.unlink(missing_ok=True)


def _connect(ray: Any, address: str) -> None:
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    passed = {"PYTHONPATH": str(ROOT)} | {name: os.environ[name] for name in ("PKD_STORE",) if name in os.environ}
    options: dict[str, Any] = {"runtime_env": {"env_vars": passed}}
    if address == "local":
        options |= {
            "num_cpus": available_cores(),
            "object_store_memory": OBJECT_STORE_BYTES,
            "include_dashboard": False,
        }
    try:
        if address not in ("local", "auto"):
            _check_answers(address)
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **options)
    except (OSError, ValueError, RuntimeError, ImportError) as error:
        raise BadOption(
            f"no Ray cluster answers at {address} ({one_line(error)}). Start one with ray start --head and give "
            "--ray-address its host:port, or leave --ray-address out for one of this machine"
        ) from error
    finally:
        with suppress(ValueError):  # not in the main thread, where Ray leaves them alone
            for number, handler in handlers.items():
                signal.signal(number, handler)
    _be_quiet(ray)


def _check_answers(address: str) -> None:
    """Before Ray tries for two minutes. Raises OSError or ValueError."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        raise ValueError("it has to be host:port")
    socket.create_connection((host, int(port)), ANSWER_SECONDS).close()


def _be_quiet(ray: Any) -> None:
    """Ray prints what happens to its nodes on stdout, which is for results; what matters of it comes back as errors."""
    with suppress(AttributeError):
        ray._private.worker.print_to_stdstream = lambda *_, **__: None
