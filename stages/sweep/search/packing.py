"""The number of students that one process trains at once: as given, or the fastest in a few measured steps."""

import gc
import statistics
from collections.abc import Sequence

import torch

from pipeline.cache.reader import Cache
from pipeline.config.training import TrainStudentConfig
from pipeline.data.batching import collate
from pipeline.distillation.initial_student import initial_student
from pipeline.distillation.labelled_examples import LabelledExamples
from pipeline.distillation.recipe import resolve_recipe, training_set, training_split
from pipeline.distillation.targets import CachedTargets
from pipeline.errors import BadOption
from pipeline.models.accelerator import make_accelerator, synchronized_clock
from pipeline.system.progress import note
from pipeline.training.learner import EncoderLearner, Part
from pipeline.training.loop import Schedule
from pipeline.training.pack import PackLearner
from stages.sweep.search.trials import Trial, Trials

SIZES = (1, 2, 4, 8)
GAIN = 0.95  # of the seconds per student: a larger pack must be faster than this, since dropout draws other masks in it


def pack_size(value: str, trial: Trial, trials: Trials, measure: bool = True) -> int:
    """Return the pack size for a value of --pack. Without `measure`, auto is 1.

    Raises `BadOption` for a value that is neither a number from 1 nor auto.
    """
    if value != "auto":
        try:
            if (size := int(value)) >= 1:
                return size
        except ValueError:
            pass
        raise BadOption(f"--pack takes a number from 1, or auto, not {value}. Try --pack auto")
    if not measure:
        return 1
    seconds = _measured(trials.tokenized(trial.config), trial.config)
    best = 1
    for size in seconds:
        if seconds[size] < GAIN * seconds[best]:
            best = size
    timings = ", ".join(f"{size}: {1000 * taken:.0f} ms" for size, taken in seconds.items())
    note(f"--pack auto: {best} (a step of a student in packs of {timings})")
    return best


def _measured(cache: Cache, config: TrainStudentConfig) -> dict[int, float]:
    """Return seconds per step and student, by pack size, for the sizes that fit into memory.

    The memory of the GPU is freed afterwards, since the processes that train need it.
    """
    sizes: Sequence[int] = SIZES
    while True:
        try:
            return measure_pack(cache, config, sizes)
        except torch.OutOfMemoryError:
            if len(sizes) == 1:
                raise BadOption("not even one student fits into this GPU's memory. Lower batch_size") from None
            sizes = sizes[:-1]
        finally:
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()


def measure_pack(
    cache: Cache, config: TrainStudentConfig, sizes: Sequence[int] = (1, 2, 4), steps: int = 6
) -> dict[int, float]:
    """Return {pack size: seconds per training step and student} of this configuration on this device.

    Each is the median of `steps` steps on batches of the cache. The sizes take turns on each batch; the first step of
    each does not count.
    All of their students are in memory at once.
    """
    recipe = resolve_recipe(config, cache.manifest)
    split = training_split(cache, recipe.objective)
    accelerator, pad_id = make_accelerator(recipe.precision), cache.tokens.pad_id
    device = accelerator.device.type

    def learner() -> EncoderLearner:
        model, _ = initial_student(recipe, cache)
        maps = recipe.cls_maps(model, cache.manifest.model.hidden)
        return EncoderLearner(model, recipe.objective, config, accelerator, pad_id, maps)

    packs = {size: PackLearner([learner() for _ in range(size)]) for size in sizes}
    examples = training_set(recipe, split)
    targets, order = CachedTargets(split), Schedule.of_training(config, examples).order
    seconds: dict[int, list[float]] = {size: [] for size in sizes}
    for step in range(1 + steps):
        for size, pack in packs.items():
            started = synchronized_clock(device)
            batch = collate(split, order.batch(step), pad_id).to(accelerator.device)
            has_label = examples.has_label[batch.rows.ids]
            labelled = LabelledExamples.of_batch(has_label, int(has_label.sum()), 1.0, accelerator.device)
            pack.step([Part(batch, targets.for_batch(batch, pack.columns), 1.0, labelled)], step, 1 + steps)
            seconds[size].append((synchronized_clock(device) - started) / size)
    return {size: statistics.median(measured[1:]) for size, measured in seconds.items()}
