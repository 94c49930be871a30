"""The options of `benchmark`."""

from dataclasses import dataclass

from pipeline.config.options import Options, option

BENCHMARKS = ("train", "peers", "cache", "reader", "startup", "growth")


@dataclass(frozen=True, kw_only=True)
class BenchmarkConfig(Options):
    """Measure speed on this machine. Contenders take turns; ratios are medians over rounds.

    \b
    train    a student from the cache: against the authors' way, and plain fine-tuning
    peers    against transformers' Trainer and TextBrewer with a live teacher (extra peers)
    cache    cache-teacher against the bare forward pass; writing against `datasets`
    reader   rows at random, warm and cold, against `datasets` and h5py; opening, memory
    startup  --help, and a first error line, against `python -c pass`; no model, lengths or device
    growth   seconds and bytes as examples, layers, depth and readers grow
    all      all of these, in about 25 minutes on two cores
    sweep    twelve trials of a sweep against as many trainings with a live teacher

    Each prints a table and writes benchmark-WHAT.json. reader writes up to 11 GB into data/ of the current directory
    if there is one, else into TMPDIR; the others write into TMPDIR.
    """

    what: str = option(
        help="train, peers, cache, reader, startup, growth, all of these, or sweep",
        metavar="WHAT",
        positional=True,
        choices=(*BENCHMARKS, "all", "sweep"),
    )
    model: str = option(
        "base",
        help="shape of the teacher, weights random: BERT-base (12 layers, 768 wide), or the packaged BERT (6, 384)",
        choices=("base", "demo"),
    )
    lengths: str = option(
        "mnli",
        help="tokens of the examples: as in MNLI, as in RTE, or drawn from a file with one number from 1 to 512 a line",
        metavar="mnli|rte|FILE",
    )
    quick: bool = option(False, help="a first impression in under a minute: smaller batches, two rounds")
    rounds: int = option(5, help="rounds that are counted, at most (some benchmarks take fewer)", low=1)
    device: str = option(
        "auto", help="auto is the GPU where there is one", choices=("auto", "cpu", "cuda"), metavar=None
    )
    out: str = option("results", help="directory of benchmark-WHAT.json", metavar="DIR", affects_result=False)
