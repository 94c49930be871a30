"""Caches go through a real S3 server: to it by one user, from it by another; cut, raced, refused, damaged."""

import json
import re
import shutil
import socket
from types import SimpleNamespace

import pytest

from pipeline.cache.format.manifest_validation import read_manifest
from pipeline.cache.open import open_cache
from pipeline.config.training import CacheTeacherConfig
from stages import cache_teacher
from tests.helpers.processes import start_cli
from tests.helpers.s3 import files_of, s3, server  # noqa: F401
from tests.helpers.sealing import seal
from tests.helpers.waiting import wait_until


def sizes(cache):
    return {file: record.bytes for file, record in read_manifest(cache).files().items()}


def blobs_in(directory):
    return [path for path in directory.glob("blobs/??/*") if re.fullmatch("[0-9a-f]{64}", path.name)]


def test_one_user_pushes_and_another_pulls(tiny, s3, call, tmp_path):  # noqa: F811
    whole = sum(sizes(tiny.arrow).values()) + (tiny.arrow / "manifest.json").stat().st_size
    pushed = call("cache", "push", tiny.arrow, f"{s3.url}/toy/")
    assert (pushed.code, pushed.json["url"], pushed.json["bytes_moved"]) == (0, f"{s3.url}/toy", whole)
    assert pushed.json["bytes_total"] == whole and pushed.json["files"] == len(files_of(tiny.arrow))
    assert (s3.directory / "toy" / "manifest.json").read_bytes() == (tiny.arrow / "manifest.json").read_bytes()
    again = call("cache", "push", tiny.arrow, f"{s3.url}/toy")
    assert again.json["bytes_moved"] == 0 and f"{s3.url}/toy is already this cache, complete" in again.stderr
    s3.become("ben")
    out = tmp_path / "copy"
    pulled = call("cache", "pull", f"{s3.url}/toy", out)
    assert files_of(out) == files_of(tiny.arrow) and pulled.json["bytes_moved"] == whole
    assert pulled.json["content"] == pushed.json["content"] == read_manifest(tiny.arrow).content
    again = call("cache", "pull", f"{s3.url}/toy", out)
    assert again.json["bytes_moved"] == 0 and f"{out} is already this cache, complete" in again.stderr


@pytest.mark.parametrize("url", ["memory://{}/toy", "file://{}/toy"])
def test_other_stores(tiny, tmp_path, call, url):
    url = url.format(tmp_path / "shared")
    assert call("cache", "push", tiny.hdf5, url).code == 0
    assert call("cache", "push", tiny.hdf5, url).json["bytes_moved"] == 0
    assert call("cache", "pull", url, tmp_path / "copy").code == 0
    assert files_of(tmp_path / "copy") == files_of(tiny.hdf5)


def test_only_the_shard_that_differs_moves(tiny, s3, call, tmp_path):  # noqa: F811
    assert call("cache", "push", tiny.arrow, s3.url).code == 0  # the bucket itself holds the first
    train = tmp_path / "train.csv"
    lines = (tiny.root / "train.csv").read_text().splitlines()
    train.write_text("\n".join([*lines[:-1], "a dull plot,neg"]) + "\n")
    options = {**tiny.rows, "train_file": str(train), "teacher": str(tiny.teacher), "dtype": "float32"}
    options |= {"precision": "float32", "shard_rows": 64, "cache": str(tmp_path / "v2")}
    cache_teacher.run(CacheTeacherConfig(**options))
    pushed = call("cache", "push", tmp_path / "v2", f"{s3.url}/v2")
    last = sizes(tmp_path / "v2")["train/00004.arrow"]
    assert pushed.json["bytes_moved"] == last + (tmp_path / "v2" / "manifest.json").stat().st_size
    assert call("cache", "pull", f"{s3.url}/v2", tmp_path / "copy").code == 0
    assert files_of(tmp_path / "copy") == files_of(tmp_path / "v2")


def test_a_killed_push_goes_on(tiny, s3, call):  # noqa: F811
    s3.relay.hold_after = 250_000
    process = start_cli("cache", "push", tiny.arrow, f"{s3.url}/toy")
    wait_until(lambda: len(blobs_in(s3.directory)) >= 3)
    process.kill()
    process.communicate()
    s3.relay.settle()
    there = {path.name for path in blobs_in(s3.directory)}
    assert 3 <= len(there) < len(sizes(tiny.arrow)) and not (s3.directory / "toy").exists()
    s3.relay.hold_after = None
    problem = call("cache", "pull", f"{s3.url}/toy", s3.directory / "never")
    assert (
        problem.error
        == f"Error: {s3.url}/toy: there is no such cache. See what there is: python cli.py cache ls {s3.url}"
    )
    pushed = call("cache", "push", tiny.arrow, f"{s3.url}/toy")
    missing = sum(r.bytes for r in read_manifest(tiny.arrow).files().values() if r.sha256 not in there)
    assert pushed.json["bytes_moved"] == missing + (tiny.arrow / "manifest.json").stat().st_size


def test_a_killed_pull_goes_on(tiny, s3, server, call, tmp_path):  # noqa: F811
    assert call("cache", "push", tiny.arrow, f"{s3.url}/toy").code == 0
    out, manifest = tmp_path / "copy", (tiny.arrow / "manifest.json").stat().st_size
    s3.relay.hold_after = s3.relay.passed + manifest + 200_000
    process = start_cli("cache", "pull", f"{s3.url}/toy", out)
    wait_until(lambda: len(list(out.glob("*/[!.]*"))) >= 6)
    s3.become("ben", server.port)  # past the relay, which has gone silent
    other = call("cache", "pull", f"{s3.url}/toy", out)
    process.kill()
    process.communicate()
    assert other.code == 2 and re.fullmatch(
        rf"Error: {out} is being written by \S+ \(process {process.pid}\)\. Wait for it, then run the same command "
        "again",
        other.error,
    )
    s3.become("anna")
    s3.relay.settle()
    problem = open_problem(out)
    assert (
        problem == f"{out} is an unfinished cache. Run its command again (cache-teacher, "
        "cache pull or cache convert), or name another cache"
    )
    s3.relay.hold_after = None
    there = [path for path in out.glob("*/[!.]*") if path.parent.name != ".partial"]
    assert 3 <= len(there) < len(sizes(tiny.arrow))
    before = s3.relay.passed
    pulled = call("cache", "pull", f"{s3.url}/toy", out)
    moved = sum(sizes(tiny.arrow).values()) - sum(path.stat().st_size for path in there) + manifest
    assert pulled.json["bytes_moved"] == moved
    assert s3.relay.passed - before < moved + 60_000  # with headers
    assert files_of(out) == files_of(tiny.arrow)


def open_problem(cache):
    with pytest.raises(Exception) as caught:
        open_cache(cache)
    return str(caught.value)


def test_cache_teacher_goes_on_with_an_unfinished_pull(tiny, tmp_path, call):
    url, out, manifest = f"file://{tmp_path}/shared/toy", tmp_path / "copy", read_manifest(tiny.arrow)
    assert call("cache", "push", tiny.arrow, url).code == 0
    last = list(manifest.files().values())[-1].sha256
    (tmp_path / "shared" / "blobs" / last[:2] / last).unlink()
    assert call("cache", "pull", url, out).code == 2
    done = sum(json.loads(path.read_text())["rows"] for path in (out / ".partial").glob("*-*.json"))
    options = {**tiny.rows, "teacher": str(tiny.teacher), "dtype": "float32", "precision": "float32"}
    cache_teacher.run(CacheTeacherConfig(**options, shard_rows=64, cache=str(out)))
    made = read_manifest(out)
    assert (made.identity, made.content) == (manifest.identity, manifest.content)
    assert done > 100 and made.made["computed_examples"] == 430 - done


def test_a_connection_that_is_cut_is_made_again(tiny, s3, call, tmp_path):  # noqa: F811
    assert call("cache", "push", tiny.arrow, f"{s3.url}/toy").code == 0
    s3.relay.cut_after = s3.relay.passed + 250_000
    assert call("cache", "pull", f"{s3.url}/toy", tmp_path / "copy").code == 0
    assert s3.relay.cut_after is None and files_of(tmp_path / "copy") == files_of(tiny.arrow)


def test_a_server_gone_in_the_middle(tiny, s3, call, tmp_path, monkeypatch):  # noqa: F811
    assert call("cache", "push", tiny.arrow, f"{s3.url}/toy").code == 0
    monkeypatch.setattr("pipeline.cache.remote.object_store.WAITS", (0.1, 0.2))
    s3.relay.cut_after, s3.relay.refuse = s3.relay.passed + 250_000, False
    cut = s3.relay.cut

    def cut_for_good():
        s3.relay.refuse = True
        cut()

    s3.relay.cut = cut_for_good
    problem = call("cache", "pull", f"{s3.url}/toy", tmp_path / "copy")
    assert problem.code == 2 and re.fullmatch(
        rf"Error: {s3.url}/toy cannot be reached \(\w+\)\. Check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and "
        r"AWS_ENDPOINT_URL, then run the same command again: finished transfers are kept",
        problem.error,
    )
    assert not list((tmp_path / "copy").glob("*/.*.tmp"))
    s3.relay.refuse = False
    assert call("cache", "pull", f"{s3.url}/toy", tmp_path / "copy").json["bytes_moved"] < 499_000
    assert files_of(tmp_path / "copy") == files_of(tiny.arrow)


def test_two_pushers_at_once(tiny, s3, call, tmp_path):  # noqa: F811
    both = [start_cli("cache", "push", tiny.arrow, f"{s3.url}/toy") for _ in range(2)]
    for process in both:
        stdout, stderr = process.communicate()
        assert process.returncode == 0, stderr
        assert json.loads(stdout.splitlines()[-1])["content"] == read_manifest(tiny.arrow).content
    assert call("cache", "pull", f"{s3.url}/toy", tmp_path / "copy").code == 0
    assert files_of(tmp_path / "copy") == files_of(tiny.arrow)


def test_two_pushers_of_different_caches(tiny, s3, call, monkeypatch):  # noqa: F811
    """The other one publishes between this one's look and its manifest."""
    from pipeline.cache.remote.object_store import Remote

    create = Remote.create

    def late(self, path, data):
        monkeypatch.setattr(Remote, "create", create)
        assert call("cache", "push", tiny.float16, url).code == 0
        raise FileExistsError(path)  # as Amazon's S3 answers a conditional write; rclone's server knows none

    for url, name in (f"{s3.url}/toy", "identity"), (f"file://{s3.directory}/toy-2", "identity"):
        if url.startswith("s3"):
            monkeypatch.setattr(Remote, "create", late)
        else:
            assert call("cache", "push", tiny.float16, url).code == 0
        problem = call("cache", "push", tiny.arrow, url)
        theirs, ours = read_manifest(tiny.float16).identity[:12], read_manifest(tiny.arrow).identity[:12]
        assert problem.code == 2 and problem.error == (
            f"Error: {url} holds another cache ({name} {theirs}… ≠ {ours}…), and what is published does not change. "
            "Choose another URL"
        )


def test_a_local_file_is_created_once(tmp_path):
    from pipeline.cache.remote.object_store import Remote

    remote = Remote(f"file://{tmp_path}")
    remote.create(str(tmp_path / "a"), b"first")
    with pytest.raises(FileExistsError):
        remote.create(str(tmp_path / "a"), b"second")
    assert files_of(tmp_path) == {"a": b"first"}


def test_a_damaged_local_file_is_not_published(tiny, s3, call, tmp_path):  # noqa: F811
    cache = shutil.copytree(tiny.arrow, tmp_path / "cache")
    file = cache / "train" / "00002.arrow"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    problem = call("cache", "push", cache, f"{s3.url}/toy")
    assert problem.code == 2 and problem.error == (
        f"Error: {file} is damaged (its bytes are not those of the manifest). "
        f"Run: python cli.py cache verify {cache} --repair"
    )
    assert not (s3.directory / "toy").exists()
    assert read_manifest(cache).files()["train/00002.arrow"].sha256 not in {b.name for b in blobs_in(s3.directory)}


def test_a_damaged_blob_is_found_and_sent_again(tiny, s3, call, tmp_path):  # noqa: F811
    assert call("cache", "push", tiny.arrow, f"{s3.url}/toy").code == 0
    record = read_manifest(tiny.arrow).files()["dev/00001.arrow"]
    blob = s3.directory / "blobs" / record.sha256[:2] / record.sha256
    blob.write_bytes(b"x" * record.bytes)
    problem = call("cache", "pull", f"{s3.url}/toy", tmp_path / "copy")
    assert problem.code == 2 and problem.error == (
        f"Error: {s3.url}/toy: dev/00001.arrow is damaged (its bytes are not those of the manifest). "
        f"Push it again from a good copy: python cli.py cache push DIR {s3.url}/toy"
    )
    assert (
        not (tmp_path / "copy" / "manifest.json").exists() and not (tmp_path / "copy" / "dev" / "00001.arrow").exists()
    )
    assert call("cache", "push", tiny.arrow, f"{s3.url}/toy").json["bytes_moved"] == record.bytes
    assert call("cache", "pull", f"{s3.url}/toy", tmp_path / "copy").code == 0
    assert files_of(tmp_path / "copy") == files_of(tiny.arrow)


def test_a_large_file_is_sent_in_parts(s3, tmp_path, monkeypatch):  # noqa: F811
    from pipeline.cache.format.manifest import FileRecord
    from pipeline.cache.remote import object_store, uploads
    from pipeline.cache.remote.published import Published
    from pipeline.system.digests import file_digest

    for module in (object_store, uploads):
        monkeypatch.setattr(module, "PART", 5 * 2**20)
    (tmp_path / "teacher").mkdir()
    file = tmp_path / "teacher" / "large.safetensors"
    file.write_bytes(bytes(range(256)) * 4 * 2**10 * 12)
    record = FileRecord(file.stat().st_size, file_digest(file))
    assert uploads.upload(Published(f"{s3.url}/toy"), file, record)
    assert not uploads.upload(Published(f"{s3.url}/toy"), file, record)
    assert [blob.read_bytes() for blob in blobs_in(s3.directory)] == [file.read_bytes()]


def test_what_arrives_is_looked_at(tiny, call, monkeypatch):
    """In a store without MD5s it is read back."""
    from pipeline.cache.remote.object_store import Remote

    def garble(self, file, path):
        self.fs.pipe_file(path, bytes(file.stat().st_size))

    monkeypatch.setattr(Remote, "upload", garble)
    problem = call("cache", "push", tiny.arrow, "memory://garbled/toy")
    assert problem.code == 2 and re.fullmatch(
        rf"Error: memory://garbled/toy: {tiny.arrow}/\S+ did not arrive as it was sent. Run the same command again",
        problem.error,
    )


@pytest.mark.parametrize("command", ["push", "pull"])
def test_refusals_are_one_line_each(tiny, s3, call, tmp_path, monkeypatch, command):  # noqa: F811
    waits = []
    monkeypatch.setattr("pipeline.cache.remote.object_store.time", SimpleNamespace(sleep=waits.append))

    def ask(url):
        words = [tiny.arrow, url] if command == "push" else [url, tmp_path / "copy"]
        waits.clear()
        answer = call("cache", command, *words)
        assert answer.code == 2 and "Traceback" not in answer.stderr and sum(waits) < 10
        assert not any(secret in answer.stderr for secret in ("anna-secret", "no-such-secret"))
        return answer.error

    check = "Check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_ENDPOINT_URL"
    bucket = "s3://no-such-bucket"
    assert ask(f"{bucket}/toy") == f"Error: {bucket}: there is no such bucket. Make it first, or check the name"
    s3.become("nobody")
    assert ask(f"{s3.url}/toy") == f"Error: {s3.url}/toy: access was refused. {check}"
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        s3.become("anna", unused.getsockname()[1])
        assert ask(f"{s3.url}/toy") == (
            f"Error: {s3.url}/toy cannot be reached (EndpointConnectionError). {check}, then run the same command "
            "again: finished transfers are kept"
        )
    for url in ("ftp://host/toy", "s3://", "s3://a/../b", "simplecache::s3://a/b", "file:///a//b"):
        assert ask(url) == (
            f"Error: {url} is not a URL for a cache. Write it as s3://bucket/name, gs://bucket/name, "
            "hf://datasets/user/repository/name or file:///directory/name"
        )
    assert ask("s3://key:hidden@bucket/toy") == (
        "Error: a URL holds no credentials. Give them as AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_ENDPOINT_URL"
    )
    assert ask("hf://models/toy") == (
        "Error: hf://models/toy does not name a repository. Write it as hf://datasets/user/repository/name"
    )
    assert ask(f"{s3.url}/blobs") == (
        f"Error: {s3.url}/blobs: blobs holds the files of published caches. Choose another name"
    )
    assert not (tmp_path / "copy").exists()


def test_a_missing_package_names_its_extra(tiny, call, monkeypatch):
    for module, url, extra in ("s3fs", "s3://a/b", "s3"), ("gcsfs", "gs://a/b", "gcs"):
        monkeypatch.setitem(__import__("sys").modules, module, None)
        problem = call("cache", "push", tiny.arrow, url)
        assert problem.error == f"Error: {extra[:1]}{url[1]}:// needs the package {module}: pip install '.[{extra}]'"


def test_pull_keeps_off_other_directories(tiny, tmp_path, call):
    url = f"file://{tmp_path}/shared/toy"
    assert call("cache", "push", tiny.arrow, url).code == 0
    other = shutil.copytree(tiny.float16, tmp_path / "other")
    before = files_of(other)
    problem = call("cache", "pull", url, other)
    assert problem.code == 2 and problem.error == (
        f"Error: {other} was made from something else (dtype: float16 ≠ float32). Name another DIR"
    )
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("mine")
    problem = call("cache", "pull", url, tmp_path / "mine")
    assert problem.error == f"Error: {tmp_path}/mine is not empty and not a cache. Name another DIR"
    assert files_of(other) == before and files_of(tmp_path / "mine") == {"thesis.txt": b"mine"}


def test_a_hostile_manifest(tiny, tmp_path, call):
    cache, url = shutil.copytree(tiny.arrow, tmp_path / "cache"), f"file://{tmp_path}/shared/toy"
    assert call("cache", "push", cache, url).code == 0
    target = tmp_path / "shared" / "toy" / "manifest.json"

    def publish(change):
        shutil.copy(tiny.arrow / "manifest.json", cache)
        seal(cache, change)
        shutil.copy(cache / "manifest.json", target)
        answer = call("cache", "pull", url, tmp_path / "copy")
        assert answer.code == 2 and not (tmp_path / "copy" / "manifest.json").exists()
        shutil.rmtree(tmp_path / "copy", ignore_errors=True)
        return answer.error

    def shard(value):
        return value["splits"]["train"]["shards"][0]

    def leave(value):
        shard(value)["file"] = "../../escaped.arrow"

    def swap(value):
        parts = shard(value)["parts"]
        parts["cls_01"], parts["cls_02"] = parts["cls_02"], parts["cls_01"]

    def grow(value):
        shard(value)["parts"]["cls_01"]["bytes"] = 1

    assert "'../../escaped.arrow' is not the name of shard 0 of split 'train'" in publish(leave)
    assert "train/00000.arrow is damaged" in publish(swap)
    assert publish(grow) == (
        f"Error: {url}/manifest.json is damaged (cls_01 of train/00000.arrow has 1 bytes). "
        "Push the cache to another URL"
    )
    with target.open("wb") as file:
        file.truncate(64 * 2**20 + 1)
    assert call("cache", "pull", url, tmp_path / "copy").error == (
        f"Error: {url}/manifest.json is damaged (it has 67,108,865 bytes). Push the cache to another URL"
    )
    target.write_bytes(b"[" * 100_000)
    assert f"{url}/manifest.json is damaged" in call("cache", "pull", url, tmp_path / "copy").error
    assert not (tmp_path / "escaped.arrow").exists()


def test_published_cache_has_a_card_that_is_not_part_of_it(tiny, tmp_path, call):
    url, card = f"file://{tmp_path}/shared", tmp_path / "shared" / "README.md"
    pushed = call("cache", "push", tiny.arrow, url)
    assert pushed.code == 0 and "# Cached teacher for `toy`" in card.read_text()
    card.write_text("mine")
    assert call("cache", "push", tiny.arrow, url).json["bytes_moved"] == 0 and card.read_text() == "mine"
    copy = tmp_path / "copy"
    assert call("cache", "pull", url, copy).code == 0 and files_of(copy) == files_of(tiny.arrow)
    shutil.copy(card, copy)
    assert call("cache", "gc", copy).json["kept"] == ["README.md"] and (copy / "README.md").is_file()
    assert call("cache", "verify", copy).code == call("cache", "diff", copy, tiny.arrow).code == 0
    assert call("cache", "ls", f"file://{tmp_path}/shared").code == 0
    assert read_manifest(copy).content == pushed.json["content"]
