"""A search in which TPE proposes settings from the scores so far (Bergstra et al. 2011).

Trials that are behind at a rung are pruned by asynchronous successive halving (Li et al. 2020); both are Optuna's.
"""

from collections.abc import Iterator

from optuna.pruners import SuccessiveHalvingPruner
from optuna.trial import FrozenTrial

from pipeline.config.sweep import SweepConfig
from pipeline.errors import BadOption
from pipeline.system.progress import note
from stages.sweep.search.plan import Plan
from stages.sweep.search.record import FAILED, FINISHED
from stages.sweep.search.space import Space
from stages.sweep.search.study import ENDS, STATES, Distributions, Study, distributions, rung
from stages.sweep.search.trials import Trial, Trials
from stages.sweep.search.waves import GROWTH, Strategy, Wave, rungs

MOST_PROPOSALS = 5  # per trial: in a small space, most proposals were tried before


def plan_bayes(config: SweepConfig, space: Space, trials: Trials) -> Plan:
    """Return the plan of `bayes`. Raises `BadOption` for a space with alternatives, or whose trials cannot train."""
    if space.either:
        raise BadOption(
            f"{config.space}: bayes proposes from lists and ranges, not from [[either]]. Use another --strategy"
        )
    example = _example(space, trials)

    def rehearse() -> Strategy:
        yield Wave([example])

    def start(study: Study, slots: int) -> Strategy:
        return bayes(study, trials, space, config.trials, config.seed, slots, config.retry_failed)

    return Plan(
        example=example,
        distributions=distributions(space),
        rehearse=rehearse,
        start=start,
        repeats=config.trials,
    )


def _example(space: Space, trials: Trials) -> Trial:
    """Return the trial of the first values, or of the last ones, to see whether such a trial can be trained."""
    first, last = ({name: values[index] for name, values in space.choices.items()} for index in (0, -1))
    first |= {name: int(limits.low) if limits.integer else limits.low for name, limits in space.ranges.items()}
    last |= {name: int(limits.high) if limits.integer else limits.high for name, limits in space.ranges.items()}
    try:
        return trials.make({**space.constants, **first})
    except BadOption:  # a proposal that does not fit would be skipped too
        return trials.make({**space.constants, **last})


def bayes(
    study: Study, trials: Trials, space: Space, count: int, seed: int, slots: int, retry_failed: bool = False
) -> Strategy:
    """Run `count` trials, `slots` at a time.

    Interrupted trials of an earlier call come first, and with `retry_failed` those that failed.
    """
    domains = distributions(space)
    shares = rungs(space.constants.get("warmup", 0.1))
    study.study.pruner = SuccessiveHalvingPruner(min_resource=rung((*shares, 1.0)[0]), reduction_factor=GROWTH)
    batch = [trials.make(space.values(earlier.params)) for earlier in _unfinished(study, retry_failed)]
    while batch or _needs_more(study, count):
        while len(batch) < slots and _needs_more(study, count):
            trial = _propose(study, trials, space, domains, seed)
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


def _unfinished(study: Study, retry_failed: bool) -> Iterator[FrozenTrial]:
    """Yield the trials to resume; proposals without a key, left by a killed process, are marked as failed."""
    for trial in study.trials():
        has_key = study.numbers.get(trial.user_attrs.get("key", "")) == trial.number
        if has_key and (not trial.state.is_finished() or (retry_failed and trial.state == ENDS[FAILED])):
            yield trial
        elif not has_key and not trial.state.is_finished():
            study.study.tell(trial.number, state=ENDS[FAILED])


def _needs_more(study: Study, count: int) -> bool:
    return len(study.numbers) < count and len(study.trials()) < MOST_PROPOSALS * count


def _propose(study: Study, trials: Trials, space: Space, domains: Distributions, seed: int) -> Trial | None:
    """Return a trial that was not tried yet, or None if the proposal does not fit together or was tried before.

    Such a proposal is recorded in the study and not run.
    """
    proposal = study.ask(domains, seed)
    try:
        trial = trials.make(space.values(proposal.params))
    except BadOption as error:
        note(f"a proposal is left out: {error}")
        study.study.tell(proposal.number, state=ENDS[FAILED])
        return None
    earlier = study.trial(trial.key)
    if earlier is None:
        study.accept(proposal, trial.key, trial.as_json)
        return trial
    state = STATES.get(earlier.state, FAILED)
    study.study.tell(proposal.number, earlier.value if state == FINISHED else None, ENDS[state])
    return None
