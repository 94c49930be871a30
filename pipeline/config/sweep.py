"""The options of `sweep`, and of the commands that look at one."""

from dataclasses import dataclass

from pipeline.config.options import Options, option
from pipeline.config.training import RAY_ADDRESS_HELP, StoreConfig

STRATEGIES = {  # name -> help; built by the table of the same name in stages/sweep/search/strategies.py
    "grid": "every setting",
    "staged": "KD over T, alpha and lr, then beta",
    "halving": "all a little way, the best third on",
    "bayes": "TPE proposes --trials settings",
}


@dataclass(frozen=True, kw_only=True)
class SweepConfig(StoreConfig):
    """Search for the best student over many trainings from a cache. The teacher is not run.

    Trials that are complete, in this sweep or in runs/, are not run again. Stop it at any time, with Ctrl-C or
    otherwise: the same command goes on. The space is a TOML file with train-student's options, with underscores, as:

    \b
      method = ["pkd-skip", "pkd-last"]
      student_layers = 3
      lr = [5e-5, 2e-5]                          # or, for bayes:
      beta = {low = 10, high = 1000, log = true}

    Options that go together stand under [[either]] (docs/sweeps.md).

    From another terminal: sweep status DIR. A table of all trials, and the page sweep.html: sweep show DIR.
    """

    cache: str | None = option(
        None, help="cache made by cache-teacher, or a URL  [default: as the space says]", metavar="DIR|URL"
    )
    space: str = option(
        "paper",
        help="paper (T 5, 10, 20; alpha 0.2, 0.5, 0.7; lr 5e-5, 2e-5, 1e-5; beta 10, 100, 500, 1000), or a TOML file "
        "of train-student's options",
        metavar="paper|FILE",
    )
    strategy: str = option(
        "halving",
        help="; ".join(f"{name}: {text}" for name, text in STRATEGIES.items()),
        choices=tuple(STRATEGIES),
    )
    trials: int = option(30, help="settings that --strategy bayes tries", low=1)
    seed: int = option(0, help="seed of what bayes proposes", low=0, high=2**32 - 1)
    engine: str = option(
        "local",
        help="where trials run: on this machine, or on the nodes of a Ray cluster that share this directory",
        choices=("local", "ray"),
        affects_result=False,
    )
    ray_address: str | None = option(None, help=RAY_ADDRESS_HELP, metavar="HOST:PORT|auto", affects_result=False)
    gpus_per_trial: float = option(
        1.0,
        help="GPUs that a trial, or a pack, takes with --engine ray, as 0.25; one core where no node has a GPU",
        above=0,
        affects_result=False,
    )
    workers: int = option(
        0,
        help="processes that train; they share the cores of a CPU; 0: one a GPU, else one; with --engine ray what the "
        "cluster holds",
        low=0,
        affects_result=False,
    )
    pack: str = option(
        "1",
        help="students that a process trains at once, as one model with stacked parameters; auto measures what pays",
        metavar="P|auto",
        affects_result=False,
    )
    out: str | None = option(
        None, help="sweep directory  [default: sweeps/CACHE-STRATEGY-DIGEST]", metavar="DIR", affects_result=False
    )
    retry_failed: bool = option(False, help="run trials again that failed in an earlier call", affects_result=False)
    dry_run: bool = option(
        False, help="only say what would be trained, how long, and what is read", affects_result=False
    )


@dataclass(frozen=True, kw_only=True)
class SweepDirectoryConfig(Options):
    """A sweep to look at."""

    sweep: str = option(help="sweep directory", metavar="DIR", positional=True)


@dataclass(frozen=True, kw_only=True)
class SweepStatusConfig(SweepDirectoryConfig):
    """Print how far a sweep is: the best trials so far, and those that run."""


@dataclass(frozen=True, kw_only=True)
class SweepShowConfig(SweepDirectoryConfig):
    """Print all trials of a sweep, and write sweep.html into it."""


@dataclass(frozen=True, kw_only=True)
class SweepCompareConfig(SweepDirectoryConfig):
    """Print the finished trials' scores by the value of each option, with 95 % intervals of their means."""

    by: str | None = option(None, help="options to compare, as method,lr  [default: all that differ]", metavar="A,B")
    out: str | None = option(
        None,
        help="also write the tables there, and each finished trial's score, as JSON",
        metavar="FILE",
        affects_result=False,
    )


@dataclass(frozen=True, kw_only=True)
class SweepRegretConfig(Options):
    """Say how much a cheaper search loses against a whole grid, choosing on one half of the dev split and measuring
    on the other, many times.
    """

    grid: str = option(help="a finished sweep with --strategy grid", metavar="GRID", positional=True)
    against: str | None = option(
        None, help="finished sweeps of the same cache to compare with it, as sweeps/a,sweeps/b", metavar="A,B"
    )
    resamples: int = option(1000, help="times that the dev split is halved at random", low=1)
    seed: int = option(0, help="seed of the halves", low=0, high=2**32 - 1)
    out: str | None = option(None, help="also write it there, as JSON", metavar="FILE", affects_result=False)
