"""Rows without labels, from the teacher's training to the cache."""

import json
from pathlib import Path

import numpy as np
import pytest

from pipeline.cache.open import open_cache
from tests.helpers.encoders import save_pretrained_encoder
from tests.helpers.rows import write_rows

pytestmark = pytest.mark.process
TASK = ("--task", "mine", "--train-file", "train.csv", "--dev-file", "dev.csv", "--text-columns", "text")
TASK = (*TASK, "--label-column", "label")
CACHE = (*TASK, "--teacher", "teacher", "--allow-weak-teacher", "--precision", "float32", "--shard-rows", "16")


@pytest.fixture
def teacher(in_directory, call):
    """A teacher of rows of which every third has no label, and rows without labels in two files."""
    write_rows(Path("train.csv"), 48, 1)
    write_rows(Path("dev.csv"), 20, 2)
    head, *lines = Path("train.csv").read_text().splitlines()
    lines = [line if row % 3 else line.rpartition(",")[0] + "," for row, line in enumerate(lines)]
    Path("train.csv").write_text("\n".join([head, *lines]) + "\n")
    leak = Path("dev.csv").read_text().splitlines()[1].rpartition(",")[0]
    Path("more").mkdir()
    texts = [f"a film {number} scene" for number in range(39)] + [leak.upper()]
    Path("more/1.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    save_pretrained_encoder(Path("encoder"))
    call("finetune-teacher", *TASK, "--model", "encoder", "--epochs", "1", "--out", "teacher", "--precision", "float32")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_cache_has_the_targets_of_rows_without_labels(teacher, call, workers, capfd):
    out = call("cache-teacher", *CACHE, "--unlabelled-file", "more", "--cache", "cache", "--workers", workers)
    assert out.json["examples"] == {"train": 48, "dev": 20, "transfer": 39}
    assert out.json["leaks"] == {"train": 0, "transfer": 1}
    assert "are not those that" not in out.stderr  # the teacher was trained on the rows with a label
    cache = open_cache("cache")
    train, transfer = cache.splits["train"], cache.splits["transfer"]
    assert (train.labels == -1).sum() == 16 and train.labelled and not transfer.labelled
    assert len(transfer.shards) == 3 and transfer.column("example_id").tolist() == list(range(39))
    assert np.isfinite(transfer.column("logits")).all()
    assert cache.manifest.made["leaks"] == {"train": 0, "transfer": 1}
    assert list(cache.manifest.teacher_metrics) == ["train", "dev"]
    assert call("evaluate", "teacher", "--split", "train").json["examples"] == {"train": 48}
    next(Path("cache/transfer").iterdir()).write_bytes(b"damaged")
    assert call("cache", "verify", "cache", "--repair").json["repaired"]
    if workers == 1:
        Path("more").rename("moved")
        next(Path("cache/transfer").iterdir()).write_bytes(b"damaged")
        last = " say where {} with --unlabelled-file, or name another copy with --from"
        gone = call("cache", "verify", "cache", "--repair").error
        assert gone.endswith("/more is not there any more:" + last.format("its rows are"))
        Path("other.csv").write_text("text\nanother film\n")
        moved = call("cache", "verify", "cache", "--repair", "--unlabelled-file", "other.csv").error
        assert "the rows of split transfer (--unlabelled-file) are not those that the cache was made from:" in moved
        assert moved.endswith(last.format("these are"))
        assert call("cache", "verify", "cache", "--repair", "--unlabelled-file", "moved").code == 0
