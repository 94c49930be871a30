"""A student trained from the cache is the student trained beside the teacher."""

import dataclasses
import json

import pytest

from pipeline.cache.open import open_cache
from pipeline.cache.teacher_files import load_student
from pipeline.config.training import CacheTeacherConfig, TrainStudentConfig
from pipeline.data.rows.sources import load_rows
from pipeline.data.tokenize import tokenize
from pipeline.distillation.recipe import resolve_recipe
from pipeline.distillation.targets import CachedTargets, LiveTargets, teacher_forwards
from pipeline.models.accelerator import make_accelerator
from pipeline.models.checkpoints import load_classifier, locate
from pipeline.training.learner import EncoderLearner, seed_everything
from pipeline.training.loop import Training
from pipeline.training.run_directory import RunDirectory

STEPS = 20


def losses(tiny, cache_directory, live, out, method):
    """The loss of each of the first steps, with targets from the cache or from the loaded teacher."""
    cache = open_cache(cache_directory)
    config = TrainStudentConfig(
        cache=str(cache_directory), method=method, precision="float32", max_steps=STEPS, log_every=1, select="last"
    )
    accelerator = make_accelerator("float32")
    seed_everything(config.seed)
    student = load_student(cache.teacher, 2, 4)
    split, targets = cache.splits["train"], CachedTargets(cache.splits["train"])
    if live:  # the task's own rows and the teacher run on every batch: no byte of the shards is used
        teacher = load_classifier(locate(str(tiny.teacher)))
        rows = load_rows(CacheTeacherConfig(**tiny.rows))
        split = tokenize("train", rows.splits["train"], tokenizer_of(tiny), 128)
        targets = LiveTargets(teacher, accelerator)
    learner = EncoderLearner(student, resolve_recipe(config, cache.manifest).objective, config, accelerator, 0)
    run = RunDirectory(out, "test", {}, {})
    with run.claimed(accelerator, resume=False):
        Training(learner, split, targets, None, cache.manifest.task_metrics, config, accelerator, run, "test").train()
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines]


def tokenizer_of(tiny):
    from pipeline.models.checkpoints import load_tokenizer

    return load_tokenizer(locate(str(tiny.teacher)))


@pytest.mark.parametrize("method", ["kd", "pkd-skip", "pkd-last"])
@pytest.mark.parametrize(("stored", "tolerance"), [("arrow", 1e-4), ("hdf5", 1e-4), ("float16", 1e-2)])
def test_every_loss_agrees(tiny, tmp_path, method, stored, tolerance):
    cached = losses(tiny, getattr(tiny, stored), False, tmp_path / "cached", method)
    live = losses(tiny, getattr(tiny, stored), True, tmp_path / "live", method)
    assert len(cached) == len(live) == STEPS
    assert cached == pytest.approx(live, rel=tolerance)
    assert len({round(loss, 5) for loss in cached}) == STEPS  # other batches, other losses: not one value compared


def test_a_target_of_another_example_is_refused(tiny):
    from pipeline.data.batching import collate
    from pipeline.errors import BadCache

    split = open_cache(tiny.arrow).splits["train"]
    batch = collate(split, split.starts[:1], 0)
    strayed = dataclasses.replace(
        batch, rows=split.rows(batch.rows.ids + 1)
    )  # as after a shuffle that the targets missed
    with pytest.raises(BadCache) as error:
        CachedTargets(split).for_batch(strayed, ("logits", "cls_01"))
    assert str(error.value).startswith(
        "split train, example 1: the stored row belongs to other tokens (example_id 1, row_hash "
    )


def test_passes_of_a_teacher_are_counted(tiny, tmp_path):
    before = teacher_forwards.count
    losses(tiny, tiny.arrow, False, tmp_path / "cached", "kd")
    assert teacher_forwards.count == before
    losses(tiny, tiny.arrow, True, tmp_path / "live", "kd")
    assert teacher_forwards.count == before + STEPS
