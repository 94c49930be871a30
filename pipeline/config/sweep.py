"""The options of `sweep`, and of the commands that look at one."""

from dataclasses import dataclass

from pipeline.config.options import Settings, setting
from pipeline.config.training import RAY_ADDRESS_HELP, StoreConfig

STRATEGIES = ("grid", "staged", "halving", "bayes")


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

    cache: str | None = setting(
        None, help="cache made by cache-teacher, or a URL  [default: as the space says]", metavar="DIR|URL"
    )
    space: str = setting(
        "paper",
        help="paper (T 5, 10, 20; alpha 0.2, 0.5, 0.7; lr 5e-5, 2e-5, 1e-5; beta 10, 100, 500, 1000), or a TOML file "
        "of train-student's options",
        metavar="paper|FILE",
    )
    strategy: str = setting(
        "halving",
        help="grid: every setting; staged: KD over T, alpha and lr, then beta; halving: all a little way, the best "
        "third on; bayes: TPE proposes --trials settings",
        choices=STRATEGIES,
    )
    trials: int = setting(30, help="settings that --strategy bayes tries", low=1)
    seed: int = setting(0, help="seed of what bayes proposes", low=0, high=2**32 - 1)
    engine: str = setting(
        "local",
        help="where trials run: on this machine, or on the nodes of a Ray cluster that share this directory",
        choices=("local", "ray"),
        outcome=False,
    )
    ray_address: str | None = setting(None, help=RAY_ADDRESS_HELP, metavar="HOST:PORT|auto", outcome=False)
    gpus_per_trial: float = setting(
        1.0,
        help="GPUs that a trial, or a pack, takes with --engine ray, as 0.25; one core where no node has a GPU",
        above=0,
        outcome=False,
    )
    workers: int = setting(
        0,
        help="processes that train; they share the cores of a CPU; 0: one a GPU, else one; with --engine ray what the "
        "cluster holds",
        low=0,
        outcome=False,
    )
    pack: str = setting(
        "1",
        help="students that a process trains at once, as one model with stacked parameters; auto measures what pays",
        metavar="P|auto",
        outcome=False,
    )
    out: str | None = setting(
        None, help="sweep directory  [default: sweeps/CACHE-STRATEGY-DIGEST]", metavar="DIR", outcome=False
    )
    retry_failed: bool = setting(False, help="run trials again that failed in an earlier call", outcome=False)
    dry_run: bool = setting(False, help="only say what would be trained, how long, and what is read", outcome=False)


@dataclass(frozen=True, kw_only=True)
class SweepDirectoryConfig(Settings):
    """A sweep to look at."""

    sweep: str = setting(help="sweep directory", metavar="DIR", positional=True)


@dataclass(frozen=True, kw_only=True)
class SweepStatusConfig(SweepDirectoryConfig):
    """Print how far a sweep is: the best trials so far, and those that run."""


@dataclass(frozen=True, kw_only=True)
class SweepShowConfig(SweepDirectoryConfig):
    """Print all trials of a sweep, and write sweep.html into it."""


@dataclass(frozen=True, kw_only=True)
class SweepCompareConfig(SweepDirectoryConfig):
    """Print the finished trials' scores by the value of each option, with 95 % intervals of their means."""

    by: str | None = setting(None, help="options to compare, as method,lr  [default: all that differ]", metavar="A,B")
    out: str | None = setting(
        None,
        help="also write the tables there, and each finished trial's score, as JSON",
        metavar="FILE",
        outcome=False,
    )


@dataclass(frozen=True, kw_only=True)
class SweepRegretConfig(Settings):
    """Say how much a cheaper search loses against a whole grid, choosing on one half of the dev split and measuring
    on the other, many times."""

    grid: str = setting(help="a finished sweep with --strategy grid", metavar="GRID", positional=True)
    against: str | None = setting(
        None, help="finished sweeps of the same cache to compare with it, as sweeps/a,sweeps/b", metavar="A,B"
    )
    resamples: int = setting(1000, help="times that the dev split is halved at random", low=1)
    seed: int = setting(0, help="seed of the halves", low=0, high=2**32 - 1)
    out: str | None = setting(None, help="also write it there, as JSON", metavar="FILE", outcome=False)
