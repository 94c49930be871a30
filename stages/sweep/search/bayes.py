"""A search in which TPE proposes what to try from what is known (Bergstra et al. 2011), and trials that lag behind at
a rung are pruned by asynchronous successive halving (Li et al. 2020); both are Optuna's.
"""

from collections.abc import Iterator

from optuna.pruners import SuccessiveHalvingPruner
from optuna.trial import FrozenTrial

from pipeline.errors import BadOption
from pipeline.system.progress import note
from stages.sweep.search.record import FAILED, FINISHED
from stages.sweep.search.space import Space
from stages.sweep.search.strategies import GROWTH, Strategy, Wave, rungs
from stages.sweep.search.study import ENDS, STATES, Distributions, Study, distributions, rung
from stages.sweep.search.trials import Trial, Trials

MOST_PROPOSALS = 5  # for each trial: in a small space, most of them are known already


def bayes(
    study: Study, trials: Trials, space: Space, count: int, seed: int, slots: int, retry_failed: bool = False
) -> Strategy:
    """`count` trials, `slots` at a time. Those of an earlier call that were interrupted come first, and with
    `retry_failed` those that failed.
    """
    of = distributions(space)
    shares = rungs(space.constants.get("warmup", 0.1))
    study.study.pruner = SuccessiveHalvingPruner(min_resource=rung((*shares, 1.0)[0]), reduction_factor=GROWTH)
    batch = [trials.of({**space.constants, **begun.params}) for begun in _begun(study, retry_failed)]
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


def _begun(study: Study, retry_failed: bool) -> Iterator[FrozenTrial]:
    """Trials to go on with. Those that were killed while they were proposed are nobody's."""
    for trial in study.trials():
        known = study.numbers.get(trial.user_attrs.get("key", "")) == trial.number
        if known and (not trial.state.is_finished() or (retry_failed and trial.state == ENDS[FAILED])):
            yield trial
        elif not known and not trial.state.is_finished():
            study.study.tell(trial.number, state=ENDS[FAILED])


def _few(study: Study, count: int) -> bool:
    return len(study.numbers) < count and len(study.trials()) < MOST_PROPOSALS * count


def _proposed(study: Study, trials: Trials, space: Space, of: Distributions, seed: int) -> Trial | None:
    """A trial that was not tried yet. What does not fit together, and what was tried, is told to the study, and nobody
    runs it.
    """
    asked = study.ask(of, seed)
    try:
        trial = trials.of({**space.constants, **asked.params})
    except BadOption as error:
        note(f"a proposal is left out: {error}")
        study.study.tell(asked.number, state=ENDS[FAILED])
        return None
    known = study.trial(trial.key)
    if known is None:
        study.named(asked, trial.key, trial.about)
        return trial
    state = STATES.get(known.state, FAILED)
    study.study.tell(asked.number, known.value if state == FINISHED else None, ENDS[state])
    return None
