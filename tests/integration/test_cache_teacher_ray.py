"""A cache made by the nodes of a real Ray cluster, one of which is killed in the middle."""

import json
import signal
import time

import pytest

from pipeline.cache.open import open_cache
from pipeline.system import ray_cluster as clusters
from stages import cache_teacher
from tests.helpers.clusters import left_behind, workers_of
from tests.helpers.waiting import wait_until
from tests.helpers.writers import config, contents, pause, recorded, start, unchanged

ROWS, DEV, SOME = 430, 90, 20


@pytest.mark.soak
def test_a_node_that_cannot_help_is_told_of(tiny, cluster, in_directory, capsys):
    said = ""
    with clusters.cluster(cluster.address) as nodes:
        next(in_directory.glob(".ray-*")).rename("away")
        with nodes.run_on_other_nodes(cache_teacher._join, config(tiny, in_directory / "cache")):
            while "does not help" not in said:  # a limit is the one of all tests
                said += capsys.readouterr().err
                time.sleep(0.1)
    assert f"a node does not help: {in_directory} is not shared with " in said
    assert not (in_directory / "cache").exists()


@pytest.mark.soak
def test_two_nodes_of_which_one_is_lost_make_the_bytes_of_one_machine(tiny, cluster, in_directory):
    cache_teacher.run(config(tiny, in_directory / "alone", shard_rows=1))
    out = in_directory / "cache"
    driver = start(tiny, out, shard_rows=1, engine="ray", ray_address=cluster.address)
    try:
        assert wait_until(
            lambda: len(recorded(out)) > DEV and len(set(workers_of(cluster).values())) == 2, process=driver
        )
        pause(driver, out)  # which leaves the work to the nodes
        by_driver = recorded(out)
        wait_until(lambda: len(recorded(out)) >= len(by_driver) + SOME)
        cluster.remove_node(min(workers_of(cluster).items())[1], allow_graceful=False)
        by_two = recorded(out)
        wait_until(lambda: len(recorded(out)) >= len(by_two) + SOME)
        by_all = recorded(out)
        driver.send_signal(signal.SIGCONT)
        stdout, stderr = driver.communicate(timeout=120)
    finally:
        driver.kill()
    assert driver.returncode == 0, stderr
    assert "shared with 2 other nodes, and with nodes that join later" in stderr and "does not help" not in stderr
    assert json.loads(stdout)["identity"] == open_cache(out).manifest.identity
    assert unchanged(out, by_all)  # nobody made again what was there
    assert contents(out) == contents(in_directory / "alone")
    assert open_cache(out).manifest.made["computed_examples"] <= ROWS - 2 * SOME  # by the driver
    assert not left_behind(in_directory)
