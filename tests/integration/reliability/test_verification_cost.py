"""What the background check costs, measured: training with it against training with it remembered."""

import os
import shutil
import statistics
import time
from pathlib import Path

import pytest
import torch
import transformers

from pipeline.cache import background_check, user_store
from pipeline.cache.open import open_cache
from pipeline.config.training import CacheTeacherConfig, TrainStudentConfig
from stages import cache_teacher, train_student


@pytest.mark.skipif(os.environ.get("PKD_SOAK") != "1", reason="a measurement, in the long form only")
def test_the_background_check_costs_little(tiny, tmp_path, record, monkeypatch):
    torch.manual_seed(0)
    sizes = dict(hidden_size=256, num_hidden_layers=6, num_attention_heads=4, intermediate_size=1024, vocab_size=32)
    model = transformers.AutoModelForSequenceClassification.from_config(transformers.BertConfig(**sizes))
    model.save_pretrained(tmp_path / "teacher")
    transformers.AutoTokenizer.from_pretrained(tiny.encoder).save_pretrained(tmp_path / "teacher")
    header, *lines = Path(tiny.rows["train_file"]).read_text().splitlines()
    (tmp_path / "train.csv").write_text("\n".join([header, *lines * 9]) + "\n")
    rows = tiny.rows | {"train_file": str(tmp_path / "train.csv")}
    out = tmp_path / "cache"
    cache_teacher.run(
        CacheTeacherConfig(**rows, teacher=str(tmp_path / "teacher"), cache=str(out), allow_weak_teacher=True)
    )
    monkeypatch.setenv("PKD_STORE", str(tmp_path / "store"))
    monkeypatch.setattr(user_store, "SETTLED_NS", 0)
    spent, verify = [], background_check.verify_shard

    def timed(*arguments):
        begun = time.thread_time()
        verify(*arguments)
        spent.append(time.thread_time() - begun)

    monkeypatch.setattr(background_check, "verify_shard", timed)
    seconds: dict[str, list[float]] = {"checked": [], "remembered": []}
    processor: dict[str, list[float]] = {"checked": [], "remembered": []}
    for turn in range(10):
        kind = "remembered" if turn % 2 else "checked"
        if kind == "checked":
            shutil.rmtree(tmp_path / "store", ignore_errors=True)
        spent.clear()
        run = tmp_path / f"run-{turn}"
        result = train_student.run(
            TrainStudentConfig(cache=str(out), out=str(run), student_layers=2, epochs=1, precision="float32", seed=turn)
        )
        seconds[kind].append(result.seconds)
        processor[kind].append(sum(spent) / result.seconds)
    checked, remembered = (statistics.median(seconds[kind]) for kind in ("checked", "remembered"))
    share = (checked - remembered) / remembered
    record(
        "cost of the background check, as a share of an epoch",
        cache_bytes=open_cache(out).manifest.bytes,
        examples=9 * len(lines),
        seconds_checked=[round(value, 2) for value in seconds["checked"]],
        seconds_remembered=[round(value, 2) for value in seconds["remembered"]],
        share_of_medians=round(share, 4),
        processor_share_checked=round(statistics.median(processor["checked"]), 5),
        processor_share_remembered=round(statistics.median(processor["remembered"]), 5),
    )
    assert share < 0.2, seconds  # the figure is in the record; this only catches a check in the foreground
