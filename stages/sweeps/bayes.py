"""A search in which TPE proposes what to try from what is known (Bergstra et al. 2011), and trials that lag behind at
a rung are pruned by asynchronous successive halving (Li et al. 2020); both are Optuna's."""

from optuna.pruners import SuccessiveHalvingPruner

from stages.sweeps.record import FAILED, FINISHED
from stages.sweeps.space import Space
from stages.sweeps.strategies import GROWTH, Strategy, Wave, rungs
from stages.sweeps.study import ENDS, Distributions, Study, distributions, rung
from stages.sweeps.trials import Trial, Trials

MOST_PROPOSALS = 5  # for each trial: in a small space, most of them are known already


def bayes(study: Study, trials: Trials, space: Space, count: int, seed: int, slots: int) -> Strategy:
    """`count` trials, `slots` at a time. Raises a `DistillError` for a proposal that does not fit its cache."""
    of = distributions(space)
    interrupted = [trial for trial in study.trials() if not trial.state.is_finished()]
    batch = [trials.of({**space.constants, **trial.params}) for trial in interrupted]
    while batch or _few(study, count):
        while len(batch) < slots and _few(study, count):
            trial = _proposed(study, trials, space, of, seed)
            if trial is not None:
                batch.append(trial)
        shares = rungs(max((trial.config.warmup for trial in batch), default=0.0))
        for share in (*shares, 1.0) if batch else ():
            scores = yield Wave(batch, share)
            batch = [
                trial for trial in batch if share < 1 and trial.key in scores and not study.should_prune(trial.key)
            ]
            if not batch:
                break


def _few(study: Study, count: int) -> bool:
    return len(study.numbers) < count and len(study.trials()) < MOST_PROPOSALS * count


def _proposed(study: Study, trials: Trials, space: Space, of: Distributions, seed: int) -> Trial | None:
    """A trial that was not tried yet. One that was is told to the study again, and nobody runs it."""
    warmup = space.constants.get("warmup", 0.1)
    first = rung(rungs(warmup)[0]) if rungs(warmup) else rung(1)
    asked = study.ask(of, seed, SuccessiveHalvingPruner(min_resource=first, reduction_factor=GROWTH))
    trial = trials.of({**space.constants, **asked.params})
    known = study.trial(trial.key)
    if known is None:
        study.named(asked, trial.key, trial.about)
        return trial
    finished = known.value is not None
    study.study.tell(asked.number, known.value if finished else None, ENDS[FINISHED if finished else FAILED])
    return None
