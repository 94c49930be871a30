"""Ray clusters: the one module that connects to a cluster, or starts one of this machine.

Ray decides where work runs. The work reads and writes files of the driver's working directory, which every node must
see at the same path, as it must see this program.
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
CANCEL_SECONDS = 10.0  # that cancelled tasks have to give back what they hold
END_SECONDS = 3.0  # that tasks have to see on their own that the work is done
LOST_NODES = 10  # after which a task is not started again


@dataclass(frozen=True)
class SharedDirectory:
    """The driver's working directory, and a file in it by which a node recognises it."""

    directory: str
    mark: str

    def enter(self) -> None:
        """Make it the working directory. Raises `BadPlace` on a node that does not have it."""
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
    """A cluster's nodes. `device` is the resource that a task requests: GPU where a node has one, else CPU."""

    ray: Any
    directory: SharedDirectory
    device: str

    def nodes(self) -> dict[str, int]:
        """Return {node id: number of these devices that it has now}, without the nodes that have none."""
        counts = {
            node["NodeID"]: int(node["Resources"].get(self.device, 0)) for node in self.ray.nodes() if node["Alive"]
        }
        return {node: devices for node, devices in counts.items() if devices}

    def resources(self, devices: float) -> dict[str, float]:
        """Return the Ray options that reserve `devices` devices for a task."""
        return {"num_gpus": devices, "num_cpus": 0} if self.device == "GPU" else {"num_cpus": devices}

    @contextmanager
    def run_on_other_nodes(self, function: Callable[..., object], *arguments: object) -> Iterator[None]:
        """Run `function(directory, *arguments)` on every other node while open, with all devices of the node.

        Nodes that join later run it too. The task of a lost node starts again on another one; a failure is reported
        in a note and has no other effect.
        """
        ray, this_node = self.ray, self.ray.get_runtime_context().get_node_id()
        other_nodes = [devices for node, devices in self.nodes().items() if node != this_node]
        labels = importlib.import_module("ray.util.scheduling_strategies")
        strategy = labels.NodeLabelSchedulingStrategy(hard={"ray.io/node-id": labels.NotIn(this_node)})
        later_nodes = [other_nodes[-1] if other_nodes else 1] * waiting(len(other_nodes))
        options = {"max_retries": LOST_NODES, "scheduling_strategy": strategy}
        tasks = [
            ray.remote(**options, **self.resources(devices))(function).remote(self.directory, *arguments)
            for devices in [*other_nodes, *later_nodes]
        ]
        note(f"shared with {len(other_nodes)} other nodes, and with nodes that join later")
        ended = threading.Event()
        watcher = threading.Thread(target=_report_failures, args=(ray, tasks, ended), daemon=True)
        watcher.start()
        try:
            yield
        finally:
            ended.set()
            watcher.join()
            # Ray 2.60 aborts this process where a task ends in the moment in which it is cancelled
            _, running = ray.wait(tasks, num_returns=len(tasks), timeout=END_SECONDS)
            for task in running:
                ray.cancel(task)
            if running:
                ray.wait(running, num_returns=len(running), timeout=CANCEL_SECONDS)


def waiting(running: int) -> int:
    """Return how many tasks to submit above those that the nodes hold.

    An autoscaler starts nodes for tasks that wait, so this is by how much the cluster may grow at a time.
    """
    return max(2, running // 2)


def _report_failures(ray: Any, tasks: list[Any], ended: threading.Event) -> None:
    running = list(tasks)
    while running and not ended.is_set():
        done, running = ray.wait(running, timeout=0.5)
        for task in done:
            try:
                ray.get(task)
            except ray.exceptions.RayError as error:
                note(f"a node does not help: {failure(error)}")


def failure(error: Exception) -> str:
    """Return the reason for which a task failed, in one line."""
    cause = getattr(error, "cause", None) or error
    return one_line(cause if isinstance(cause, BadPlace) else f"{type(cause).__name__}: {cause}", 400)


@contextmanager
def cluster(address: str | None) -> Iterator[Cluster]:
    """Connect to the cluster at `address` or RAY_ADDRESS, else start one of this machine that ends with the context.

    Raises `MissingExtra` without Ray, `BadOption` for an address at which no cluster answers.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # else Ray prints a warning
    try:
        ray = importlib.import_module("ray")
    except ImportError as error:
        raise MissingExtra("--engine ray needs the package ray: pip install '.[ray]'") from error
    with _marked() as directory:
        _connect(ray, address or os.environ.get("RAY_ADDRESS") or "local")
        try:
            yield Cluster(ray, directory, "GPU" if ray.cluster_resources().get("GPU") else "CPU")
        finally:
            ray.shutdown()


@contextmanager
def _marked() -> Iterator[SharedDirectory]:
    """Yield the working directory with a mark in it, which is removed at the end."""
    mark = Path.cwd() / f".ray-{secrets.token_hex(8)}"
    mark.touch()
    try:
        yield SharedDirectory(str(Path.cwd()), mark.name)
    finally:
        mark.unlink(missing_ok=True)


def _connect(ray: Any, address: str) -> None:
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    variables = {"PYTHONPATH": str(ROOT)} | {name: os.environ[name] for name in ("PKD_STORE",) if name in os.environ}
    options: dict[str, Any] = {"runtime_env": {"env_vars": variables}}
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
    """Connect to the address once, before Ray tries for two minutes. Raises OSError or ValueError."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        raise ValueError("it has to be host:port")
    socket.create_connection((host, int(port)), ANSWER_SECONDS).close()


def _be_quiet(ray: Any) -> None:
    """Stop Ray from printing node events on stdout, which is for results; what matters comes back as errors."""
    with suppress(AttributeError):
        ray._private.worker.print_to_stdstream = lambda *_, **__: None
