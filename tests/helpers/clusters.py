"""A real Ray cluster on this machine: a head that runs nothing, and nodes of one core with processes of their own."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
from ray.cluster_utils import Cluster

NODE = {"num_cpus": 1, "object_store_memory": 80_000_000}


@contextlib.contextmanager
def two_nodes() -> Iterator[Cluster]:
    cluster = Cluster(initialize_head=True, head_node_args={**NODE, "num_cpus": 0, "include_dashboard": False})
    try:
        for _ in range(2):
            cluster.add_node(**NODE)
        yield cluster
    finally:
        cluster.shutdown()


def workers_of(cluster: Cluster) -> dict[int, Any]:
    """The node of each process that does a task now, by its number."""
    found = {}
    for node in cluster.worker_nodes:
        with contextlib.suppress(psutil.Error):
            raylet = psutil.Process(node.all_processes["raylet"][0].process.pid)
            for process in raylet.children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    if "".join(process.cmdline()).startswith("ray::"):  # as Ray names a process while it works
                        found[process.pid] = node
    return found


def left_behind(directory: Path) -> list[Path]:
    """What a call on a cluster should have taken away: leases, and the mark of its directory."""
    return [*directory.glob(".ray-*"), *directory.rglob(".partial")]
