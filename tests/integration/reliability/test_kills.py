"""Writers killed at any moment: the next call goes on, and the end is what it would have been."""

import json
import random
import shutil
import signal
import threading
import time

import psutil
import pytest

from pipeline.cache.open import open_cache
from stages import cache_teacher
from tests.helpers.waiting import wait_until
from tests.helpers.writers import (
    Reader,
    config,
    contents,
    descendants,
    kill,
    pause,
    recorded,
    start,
    unchanged,
    workers_of,
)

pytestmark = pytest.mark.process
SHARDS = 108  # of `tiny` in fours
PHASES = ("start", "teacher", "shards", "shards", "manifest")
SHORT = ("start", "teacher", "shards", "manifest")


@pytest.fixture(scope="module")
def whole(tiny, tmp_path_factory):
    """The cache that nobody interrupted."""
    out = tmp_path_factory.mktemp("whole") / "cache"
    cache_teacher.run(config(tiny, out))
    return contents(out)


def until(phase: str, process, out, draw: random.Random) -> None:
    """Wait for a random moment of this phase, or the end of the process."""
    if phase == "start":
        time.sleep(draw.uniform(0, 0.5))
    elif phase == "teacher":
        wait_until(lambda: list(out.glob(".teacher.*.tmp")), process=process)
        time.sleep(draw.uniform(0, 0.01))
    else:
        there = len(recorded(out))
        share = draw.uniform(0.1, 0.6) if phase == "shards" else 1
        wait_until(lambda: len(recorded(out)) >= there + share * (SHARDS - there), process=process)
        time.sleep(draw.uniform(0, 0.02))


def test_one_writer_killed_at_random_moments(tiny, tmp_path, whole, counts, record):
    kills, ends, resumed, draw = 0, 0, 0, random.Random(0)
    out, started = tmp_path / "cache", time.monotonic()
    with Reader(out) as reader:
        while kills < counts(2, 20):
            finished = {}
            for phase in counts(SHORT, PHASES):
                process = start(tiny, out)
                until(phase, process, out, draw)
                kills += kill(process)
                if not (out / "manifest.json").exists():
                    assert unchanged(out, finished), "a finished shard was computed again"
                    finished = recorded(out)
            cache_teacher.run(config(tiny, out))
            assert unchanged(out, finished)
            assert contents(out) == whole
            resumed += len(finished)
            ends += 1
            if kills < counts(2, 20):
                shutil.rmtree(out)
    assert resumed and reader.refused and not reader.problem, reader.problem
    record(
        "SIGKILL of one cache-teacher",
        kills=kills,
        caches=ends,
        shards_not_computed_again=resumed,
        opens_refused=reader.refused,
        opens_of_a_whole_cache=reader.opened,
        seconds=round(time.monotonic() - started),
    )


@pytest.mark.soak
def test_two_workers_killed(tiny, tmp_path, whole, counts, record):
    """The parent killed: its workers end. A worker killed: one line, exit code 2. Each time the next call goes on."""
    draw, out, started = random.Random(1), tmp_path / "cache", time.monotonic()
    parents = workers = kept = 0
    with Reader(out) as reader:
        for _ in range(counts(1, 10)):
            shutil.rmtree(out, ignore_errors=True)
            process = start(tiny, out, workers=2)
            wait_until(lambda: len(recorded(out)) >= 5, process=process)
            time.sleep(draw.uniform(0, 0.3))
            parents += kill(process)
            finished = recorded(out)
            process = start(tiny, out, workers=2)
            wait_until(lambda: len(recorded(out)) >= len(finished) + 5, process=process)  # noqa: B023
            children = descendants(process)
            draw.choice(workers_of(process)).kill()
            _, said = process.communicate(timeout=120)
            assert process.returncode == 2
            assert said.splitlines()[-1] == (
                f"Error: {out}: a worker process died (out of memory?). Run the same command again, with fewer "
                "--workers if it does again: finished shards are kept"
            )
            assert "Traceback" not in said
            assert not psutil.wait_procs(children, timeout=30)[1]
            workers += 1
            assert unchanged(out, finished)
            finished = recorded(out)
            cache_teacher.run(config(tiny, out))
            assert unchanged(out, finished)
            assert contents(out) == whole
            kept += len(finished)
    assert parents and not reader.problem, reader.problem
    record(
        "SIGKILL with --workers 2",
        parents_killed=parents,
        workers_killed=workers,
        orphans=0,
        shards_not_computed_again=kept,
        opens_refused=reader.refused,
        seconds=round(time.monotonic() - started),
    )


def joined(tiny, out, then):
    """This process joins an owner that was stopped in the middle, and takes shards over from there; `then` is done to
    the owner meanwhile. The owner, the shards of each, and the result here."""
    owner = start(tiny, out, "--join")  # alone on an empty directory it is the owner
    wait_until(lambda: len(recorded(out)) >= 30, process=owner)  # the dev split is done, which judges the teacher
    pause(owner, out)
    by_owner, by_both = recorded(out), {}

    def watch():
        wait_until(lambda: len(recorded(out)) >= len(by_owner) + 20)
        by_both.update(recorded(out))
        then(owner)

    watcher = threading.Thread(target=watch)
    watcher.start()
    result = cache_teacher.run(config(tiny, out, join=True))
    watcher.join()
    return owner, by_owner, by_both, result


def test_two_joined_processes_share_the_shards(tiny, tmp_path, whole, capsys):
    out = tmp_path / "cache"
    owner, by_owner, by_both, result = joined(tiny, out, lambda owner: owner.send_signal(signal.SIGCONT))
    said, errors = owner.communicate(timeout=120)
    assert owner.returncode == 0, errors
    assert f"{out}: sharing the work of another process" in capsys.readouterr().err
    identity = json.loads(said.splitlines()[-1])["identity"]
    assert identity == result.identity == open_cache(out).manifest.identity
    assert unchanged(out, by_both)  # neither computed what the other had
    assert contents(out) == whole
    computed = open_cache(out).manifest.made["computed_examples"]  # by the owner, who wrote the manifest
    assert 4 * len(by_owner) <= computed <= 4 * (SHARDS - 20)


def test_the_joined_process_finishes_for_a_killed_owner(tiny, tmp_path, whole):
    out = tmp_path / "cache"
    owner, by_owner, by_both, result = joined(tiny, out, kill)
    assert owner.returncode == -signal.SIGKILL
    assert result.identity == open_cache(out).manifest.identity
    assert by_owner and unchanged(out, by_both)
    assert contents(out) == whole
