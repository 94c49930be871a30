"""A cache of other rows than its teacher was trained with."""

import json

from pipeline.cache.open import open_cache
from pipeline.config.training import CacheTeacherConfig
from pipeline.data.rows.sources import load_rows
from pipeline.data.task_kinds import SINGLE_LABEL
from pipeline.data.tokenize import tokenize
from pipeline.models.checkpoints import load_tokenizer
from pipeline.teacher.teacher_rows import differences


def said(tiny, **options):
    config = CacheTeacherConfig(**tiny.rows | options)
    tokenizer = load_tokenizer(str(tiny.teacher / "model"))
    parts = load_rows(config).splits.items()
    splits = {name: tokenize(name, part, tokenizer, config.max_length) for name, part in parts}
    return differences(str(tiny.teacher / "model"), config, splits, SINGLE_LABEL)


def test_the_same_rows_are_not_mentioned(tiny):
    assert said(tiny) == []


def test_changed_rows_and_options_are_named(tiny, tmp_path):
    run = tiny.teacher
    assert said(tiny, train_file=tiny.rows["dev_file"]) == [
        f"the rows or labels of train are not those that {run} was trained with"
    ]
    assert said(tiny, max_length=64) == [f"--max-length is 64, and {run} was trained with 128"]


def test_a_checkpoint_without_a_run_is_not_compared(tiny, tmp_path):
    config = CacheTeacherConfig(**tiny.rows | {"max_length": 64})
    assert differences(str(tiny.encoder), config, open_cache(tiny.arrow).splits, SINGLE_LABEL) == []
    (tmp_path / "run.json").write_text(json.dumps({"command": "finetune-teacher"}))
    assert differences(str(tmp_path / "model"), config, {}, SINGLE_LABEL) == []
