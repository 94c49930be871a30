"""How many students a process trains at once: as asked for, or what a few steps say is fastest."""

import gc
import statistics
from collections.abc import Sequence

import torch

from pipeline.cache.reader import Cache
from pipeline.config.training import TrainStudentConfig
from pipeline.data.batching import collate
from pipeline.data.tasks import TRAIN
from pipeline.distillation.recipe import canonical, initial_student, objective
from pipeline.distillation.targets import CachedTargets
from pipeline.errors import BadOption
from pipeline.models.accelerator import make_accelerator, synchronized_clock
from pipeline.system.progress import note
from pipeline.training.learner import EncoderLearner, Part
from pipeline.training.loop import Schedule
from pipeline.training.pack import PackLearner
from stages.sweep.search.trials import Trial, Trials

SIZES = (1, 2, 4, 8)
GAIN = 0.95  # of the seconds a student: what a larger pack must not exceed, since in one, dropout draws otherwise


def packed(asked: str, trial: Trial, trials: Trials, measure: bool = True) -> int:
    """Raises `BadOption` for what is neither a number from 1 nor auto. Without `measure`, auto is 1."""
    if asked != "auto":
        try:
            if (size := int(asked)) >= 1:
                return size
        except ValueError:
            pass
        raise BadOption(f"--pack takes a number from 1, or auto, not {asked}. Try --pack auto")
    if not measure:
        return 1
    seconds = _measured(trials.cache(trial.config.cache), trial.config)
    best = 1
    for size in seconds:
        if seconds[size] < GAIN * seconds[best]:
            best = size
    told = ", ".join(f"{size}: {1000 * taken:.0f} ms" for size, taken in seconds.items())
    note(f"--pack auto: {best} (a step of a student in packs of {told})")
    return best


def _measured(cache: Cache, config: TrainStudentConfig) -> dict[int, float]:
    """Seconds of a step a student, in packs of the sizes that memory holds; the memory of a GPU is given back, since
    those who train need it.
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
    """Seconds that a training step of this configuration takes a student, in packs of these sizes, on this device.

    The median of `steps` steps on batches of the cache. The sizes take turns on each batch; first ones do not count.
    All of their students are in memory at once.
    """
    settings, split = canonical(config, cache.manifest), cache.splits[TRAIN]
    accelerator, pad_id = make_accelerator(settings["precision"]), cache.manifest.model.pad_id
    device = accelerator.device.type

    def learner() -> EncoderLearner:
        model, _ = initial_student(config.init, cache, settings["student_layers"], settings["method"])
        return EncoderLearner(model, objective(settings), config, accelerator, pad_id)

    packs = {size: PackLearner([learner() for _ in range(size)]) for size in sizes}
    signals, order = CachedTargets(split), Schedule.of(config, split.lengths).order
    seconds: dict[int, list[float]] = {size: [] for size in sizes}
    for step in range(1 + steps):
        for size, pack in packs.items():
            started = synchronized_clock(device)
            batch = collate(split, order.batch(step), pad_id).to(accelerator.device)
            pack.step([Part(batch, signals.for_batch(batch, pack.layers), 1.0)], step, 1 + steps)
            seconds[size].append((synchronized_clock(device) - started) / size)
    return {size: statistics.median(measured[1:]) for size, measured in seconds.items()}
