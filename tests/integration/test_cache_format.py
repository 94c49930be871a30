"""docs/cache-format.md: its reader runs as it stands there, and its digests are what it says they are."""

import hashlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors

from pipeline.cache.open import open_cache
from pipeline.config.training import CacheTeacherConfig
from stages import cache_teacher
from tests.helpers.paths import ROOT

PAGE = ROOT / "docs" / "cache-format.md"
(SCRIPT,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)


@pytest.fixture(scope="module", params=["arrow", "hdf5"])
def cache(request, tiny, tmp_path_factory) -> Path:
    """A float16 cache of several shards whose test split has no labels."""
    root = tmp_path_factory.mktemp(f"format-{request.param}")
    unlabelled = root / "unlabelled.csv"
    unlabelled.write_text("text\n" + "".join(f"the film was {word}\n" for word in ("good", "very bad", "so so dull")))
    rows = tiny.rows | {"test_file": str(unlabelled)}
    config = CacheTeacherConfig(
        **rows, teacher=str(tiny.teacher), cache=str(root / "cache"), format=request.param, shard_rows=64
    )
    cache_teacher.run(config)
    return root / "cache"


def read(cache: Path, tmp_path: Path) -> subprocess.CompletedProcess:
    """Run the page's reader, away from the project."""
    script = tmp_path / "reader.py"
    script.write_text(SCRIPT)
    command = [sys.executable, str(script), str(cache)]
    return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)


def test_the_reader_is_short_and_needs_numpy_alone():
    lines = SCRIPT.splitlines()
    imported = {line.split()[1].split(".")[0] for line in lines if line.startswith(("import ", "from "))}
    assert len(lines) <= 32
    assert imported == {"hashlib", "json", "sys", "pathlib", "numpy"}


@pytest.mark.process
def test_reader_prints_what_the_project_reads(cache, tmp_path):
    expected = []
    for name, split in open_cache(cache).splits.items():
        line = f"{name}: {len(split)} examples, {split.lengths.mean():.6f} mean tokens"
        if split.labelled:
            line += f", accuracy {(split.column('logits').argmax(1) == split.labels).mean():.6f}"
        expected.append(line)
    assert [line.partition(":")[0] for line in expected] == ["train", "dev", "test"]
    assert ["accuracy" in line for line in expected] == [True, True, False]
    done = read(cache, tmp_path)
    assert (done.returncode, done.stdout.splitlines(), done.stderr) == (0, expected, "")


@pytest.mark.process
def test_reader_stops_at_another_token(cache, tmp_path):
    copy = Path(shutil.copytree(cache, tmp_path / "copy"))
    opened = open_cache(cache)
    shard = opened.manifest.splits["train"].shards[1].file
    tokens = opened.splits["train"].shards[1]["input_ids"].values.tobytes()
    whole = (copy / shard).read_bytes()
    place = whole.index(tokens) + len(tokens) - 4  # the last token of the last row, little-endian int32
    (copy / shard).write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
    done = read(copy, tmp_path)
    assert (done.returncode, done.stderr) == (1, f"{shard}: row 63 has another hash\n")


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def test_digests_are_as_the_page_says(cache):
    manifest = json.loads((cache / "manifest.json").read_text())
    assert manifest["identity"] == digest(canonical(manifest["fields"]))
    for name, split in open_cache(cache).splits.items():
        records = manifest["splits"][name]["shards"]
        for record, columns in zip(records, split.shards, strict=True):
            hashes = (columns["row_hash"], columns["text_hash"])
            blocks = (columns["example_id"].astype("<i8"), *hashes, columns["label"].astype("<f8"))
            assert record["rows_digest"] == digest(b"".join(block.tobytes() for block in blocks))
            file = (cache / record["file"]).read_bytes()
            assert (record["sha256"], record["bytes"]) == (digest(file), len(file))
            for part, extent in record["parts"].items():
                stored = file[extent["offset"] : extent["offset"] + extent["bytes"]]
                column, _, kind = part.partition("/")
                assert stored == (getattr(columns[column], kind) if kind else columns[column]).tobytes()
                assert extent["sha256"] == digest(stored)
        assert manifest["fields"]["splits"][name] == digest("".join(r["rows_digest"] for r in records).encode())
    parts = [record["parts"] for split in manifest["splits"].values() for record in split["shards"]]
    shards = [digest(canonical({name: extent["sha256"] for name, extent in p.items()})) for p in parts]
    assert manifest["content"] == digest("".join(shards).encode())
    files = {
        path.name: {"bytes": path.stat().st_size, "sha256": digest(path.read_bytes())}
        for path in (cache / "teacher").iterdir()
    }
    assert manifest["teacher_files"] == files
    text = (cache / "manifest.json").read_bytes()
    assert manifest["digest"] == digest(text[: text.rindex(b',\n "digest"')]) and text.endswith(b'"\n}\n')


def test_text_hashes_are_as_the_page_says(cache):
    shard = open_cache(cache).splits["test"].shards[0]
    text = b"the film was very bad"
    assert shard["text_1"][1].tobytes() == text
    expected = hashlib.blake2b(len(text).to_bytes(8, "little") + text, digest_size=16).digest()
    assert shard["text_hash"][1].tobytes() == expected


def test_teacher_weights_are_found_and_digested_as_the_page_says(cache):
    weight_map = json.loads((cache / "teacher" / "model.safetensors.index.json").read_text())["weight_map"]
    assert weight_map["bert.encoder.layer.0.attention.self.query.weight"] == "layer-01.safetensors"
    assert weight_map["classifier.weight"] == "surroundings.safetensors"
    expected = hashlib.sha256()
    for name, file in sorted(weight_map.items()):
        with safetensors.safe_open(cache / "teacher" / file, "np") as opened:
            tensor = opened.get_tensor(name)
        assert tensor.dtype == np.float32
        expected.update(canonical([name, "torch.float32", list(tensor.shape)]) + tensor.tobytes())
    assert json.loads((cache / "manifest.json").read_text())["fields"]["teacher_weights"] == expected.hexdigest()
