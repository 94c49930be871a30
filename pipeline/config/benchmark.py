"""The options of `benchmark`."""

from dataclasses import dataclass

from pipeline.config.options import Options, option

BENCHMARKS = ("train", "peers", "cache", "reader", "startup", "growth")


@dataclass(frozen=True, kw_only=True)
class BenchmarkConfig(Options):
    """Measure speed on this machine. Contenders take turns; ratios are medians over rounds.

      train    a student from the cache: against the authors' way, and plain fine-tuning
      peers    against transformers' Trainer and TextBrewer with a live teacher (extra peers)
      cache    cache-teacher against the bare forward pass; writing against `datasets`
      reader   random rows, warm and cold, against `datasets` and h5py; opening; memory
      startup  --help and a first error line, against `python -c pass`; without --model, --lengths, --device
      growth   seconds and bytes as examples, layers, depth and readers grow
      all      the six above, in about 25 minutes on two cores
      sweep    twelve trials of a sweep against as many trainings with a live teacher
      transfer memory of cache-teacher with 100,000 and with 1,000,000 sentences without labels; their reading;
               without --model, --lengths, --device

    Each prints a table and writes benchmark-WHAT.json. reader writes up to 11 GB into data/ of the current directory
    if there is one, else into TMPDIR; the others write into TMPDIR.
    """

    name: str = option(
        help="train, peers, cache, reader, startup, growth, all (of these), sweep or transfer",
        metavar="WHAT",
        positional=True,
        choices=(*BENCHMARKS, "all", "sweep", "transfer"),
    )
    model: str = option(
        "base",
        help="shape of the teacher (random weights); base: BERT-base (12 layers, width 768); demo: the packaged "
        "BERT (6 layers, width 384)",
        choices=("base", "demo"),
    )
    lengths: str = option(
        "mnli",
        help="tokens per example: as in MNLI, as in RTE, or drawn from a file with one number "
        "from 1 to 512 on each line",
        metavar="mnli|rte|FILE",
    )
    quick: bool = option(False, help="a first impression in under a minute: smaller batches, two rounds")
    rounds: int = option(5, help="maximum number of measured rounds; some benchmarks use fewer", low=1)
    device: str = option("auto", help="auto: the GPU if there is one", choices=("auto", "cpu", "cuda"), metavar=None)
    out: str = option(
        "results", help="directory to write benchmark-WHAT.json into", metavar="DIR", affects_result=False
    )
