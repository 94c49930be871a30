"""How many students a process trains at once: as asked for, or what a few steps say is fastest."""

from pipeline.errors import BadOption
from pipeline.progress import note
from stages.sweeps.trials import Trial, Trials
from stages.train_student import measure_pack

SIZES = (1, 2, 4, 8)
GAIN = 0.95  # of the seconds a student: what a larger pack must not exceed, since in one, dropout draws otherwise


def packed(asked: str, trial: Trial, trials: Trials) -> int:
    """Raises `BadOption` for what is neither a number from 1 nor auto."""
    if asked != "auto":
        try:
            if (size := int(asked)) >= 1:
                return size
        except ValueError:
            pass
        raise BadOption(f"--pack takes a number from 1, or auto, not {asked}. Try --pack auto")
    seconds = measure_pack(trials.cache(trial.config.cache), trial.config, SIZES)
    best = 1
    for size in SIZES:
        if seconds[size] < GAIN * seconds[best]:
            best = size
    told = ", ".join(f"{size}: {1000 * taken:.0f} ms" for size, taken in seconds.items())
    note(f"--pack auto: {best} (a step of a student in packs of {told})")
    return best
