"""The options of `sweep` and of the `sweep …` commands."""

from dataclasses import dataclass

from pipeline.config.options import GO_ON, Options, option
from pipeline.config.shared import StoreConfig, ray_address_option, seed_option, track_option

STRATEGIES = {  # name -> help; built by the table of the same name in stages/sweep/search/strategies.py
    "grid": "every setting",
    "staged": "KD over T, alpha and lr, then beta",
    "halving": "all for a few steps, then the best third for longer, and so on",
    "bayes": "TPE proposes --trials settings",
}


@dataclass(frozen=True, kw_only=True)
class SweepConfig(StoreConfig):
    """Search for the best student over many trainings from a cache. The teacher is not run.

    Trials that are complete, in this sweep or in --runs, are not run again. Stop it at any time, with Ctrl-C or
    otherwise; the same command continues it. The space is a TOML file with the options of train-student, written with
    underscores, for example:

      method = ["pkd-skip", "pkd-last"]
      student_layers = 3
      lr = [5e-5, 2e-5]                          # or, for bayes:
      beta = {low = 10, high = 1000, log = true}

    Options that go together are written under [[either]] (docs/sweeps.md).

    `sweep status DIR` reports progress from another terminal; `sweep show DIR` prints all trials and writes
    sweep.html.
    """

    after_stop = GO_ON

    cache: str | tuple[str, ...] | None = option(
        None,
        help="cache written by cache-teacher, or a URL; several of one teacher are trained on together  [default: the "
        "caches that --space names]",
        group="Search",
        metavar="DIR|URL",
        repeatable=True,
    )
    space: str = option(
        "paper",
        help="paper (T 5, 10, 20; alpha 0.2, 0.5, 0.7; lr 5e-5, 2e-5, 1e-5; beta 10, 100, 500, 1000), or a TOML file "
        "of train-student's options",
        group="Search",
        metavar="paper|FILE",
    )
    strategy: str = option(
        "halving",
        help="; ".join(f"{name}: {text}" for name, text in STRATEGIES.items()),
        group="Search",
        choices=tuple(STRATEGIES),
    )
    trials: int = option(30, help="number of settings that --strategy bayes tries", group="Search", low=1)
    seed: int = seed_option("seed of the proposals of --strategy bayes", group="Search")
    engine: str = option(
        "local",
        help="local: trials run on this machine; ray: on the nodes of a Ray cluster that share this directory",
        group="Compute",
        choices=("local", "ray"),
        affects_result=False,
    )
    ray_address: str | None = ray_address_option()
    gpus_per_trial: float = option(
        1.0,
        help="GPUs per trial or pack with --engine ray, for example 0.25; one core if no node has a GPU",
        group="Compute",
        above=0,
        affects_result=False,
    )
    workers: int = option(
        0,
        help="processes that train; on a CPU they share its cores; 0: one per GPU, else one; with --engine ray as "
        "many as the cluster has room for",
        group="Compute",
        low=0,
        affects_result=False,
    )
    pack: str = option(
        "1",
        help="students that a process trains together, as one model with stacked parameters; auto: measure which "
        "number is fastest",
        group="Compute",
        metavar="P|auto",
        affects_result=False,
    )
    out: str | None = option(
        None,
        help="sweep directory to write  [default: sweeps/CACHE-STRATEGY-DIGEST]",
        group="Output",
        metavar="DIR",
        affects_result=False,
    )
    runs: str | None = option(
        None,
        help="directory in which each trial has its run directory  [default: runs/TASK]",
        group="Output",
        metavar="DIR",
        affects_result=False,
    )
    track: str | None = track_option("each trial")
    retry_failed: bool = option(
        False, help="run trials again that failed in an earlier call", group="Output", affects_result=False
    )
    dry_run: bool = option(
        False,
        help="only print what would be trained, for how long, and what would be read",
        group="Output",
        affects_result=False,
    )


@dataclass(frozen=True, kw_only=True)
class SweepDirectoryConfig(Options):
    """The sweep directory that a command reads."""

    sweep: str = option(help="sweep directory", metavar="DIR", positional=True)


@dataclass(frozen=True, kw_only=True)
class SweepStatusConfig(SweepDirectoryConfig):
    """Print how far a sweep is: the best trials so far, and those that run."""


@dataclass(frozen=True, kw_only=True)
class SweepShowConfig(SweepDirectoryConfig):
    """Print all trials of a sweep, and write sweep.html into it."""


@dataclass(frozen=True, kw_only=True)
class SweepCompareConfig(SweepDirectoryConfig):
    """Print the finished trials' scores by the value of each option, with 95 % intervals of their means.

    With --against the trials of one value are compared with those of every other, pair by pair.
    """

    by: str | None = option(
        None, help="options to compare, for example method,lr  [default: all that differ]", metavar="A,B"
    )
    metric: str | None = option(
        None, help="metric to compare, on the dev split that selects  [default: that of the sweep]", metavar="METRIC"
    )
    against: str | None = option(
        None, help="value of the option --by; print the paired differences of all others to it", metavar="VALUE"
    )
    pair_by: str = option(
        "seed", help="options that are the same in both trials of a pair, for example seed,cache", metavar="A,B"
    )
    out: str | None = option(
        None,
        help="JSON file to write as well: the tables, and the score of each finished trial",
        metavar="FILE",
        affects_result=False,
    )


@dataclass(frozen=True, kw_only=True)
class SweepRegretConfig(Options):
    """Measure how much a cheaper search loses against a whole grid.

    The winner is chosen on one random half of the dev split and measured on the other half, many times.
    """

    grid: str = option(help="a finished sweep with --strategy grid", metavar="GRID", positional=True)
    against: str | None = option(
        None, help="finished sweeps of the same cache to compare with it, for example sweeps/a,sweeps/b", metavar="A,B"
    )
    resamples: int = option(1000, help="number of random halvings of the dev split", low=1)
    seed: int = seed_option("seed of the halvings", group=None)
    out: str | None = option(None, help="JSON file to write as well", metavar="FILE", affects_result=False)
