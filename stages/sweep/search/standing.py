"""How a sweep stands, as the line of JSON that `sweep status` and `sweep show` end with."""

from dataclasses import dataclass

from stages.sweep.search.record import STATES, SweepRecord


@dataclass(frozen=True)
class SweepStanding:
    command: str
    sweep: str
    finished: bool
    planned: int
    trials: dict[str, int]  # state -> number
    best: str | None  # its run directory
    score: float | None
    examples_trained: int
    seconds: float


def standing(record: SweepRecord, command: str, sweep: str) -> SweepStanding:
    best = record.best
    return SweepStanding(
        command,
        sweep,
        record.finished,
        record.planned,
        {state: record.count(state) for state in STATES},
        best.out if best else None,
        best.score if best else None,
        sum(trial.examples for trial in record.trials),
        round(record.seconds, 2),
    )
