"""The options of `benchmark`."""

from dataclasses import dataclass

from pipeline.config.options import Options, is_default, option, option_name
from pipeline.errors import BadOption, one_line

BENCHMARKS = ("train", "peers", "cache", "reader", "startup", "growth")
INFERENCE = "inference"
DEEPEST = 48  # layers of a model of the depth table


@dataclass(frozen=True, kw_only=True)
class BenchmarkConfig(Options):
    """Measure speed on this machine. Contenders take turns; ratios are medians over rounds.

      train     a student from the cache: against the authors' way, and plain fine-tuning
      peers     against transformers' Trainer and TextBrewer with a live teacher (extra peers)
      cache     cache-teacher against the bare forward pass; writing against `datasets`
      reader    random rows, warm and cold, against `datasets` and h5py; opening; memory
      startup   --help and a first error line, against `python -c pass`; without --model, --lengths, --device
      growth    seconds and bytes as examples, layers, depth and readers grow
      all       the six above, in about 25 minutes on two cores
      inference finished RUNs against their teacher: milliseconds and examples per second, in torch and in ONNX
                Runtime (extra onnx), memory, bytes; then the same of encoders of several depths, which --model
                shapes. Without a RUN: the packaged BERT and its first three layers; without --lengths
      sweep     twelve trials of a sweep against as many trainings with a live teacher
      transfer  memory of cache-teacher with 100,000 and with 1,000,000 sentences without labels; their reading;
                without --model, --lengths, --device

    Each prints a table and writes benchmark-WHAT.json. reader writes up to 11 GB into data/ of the current directory
    if there is one, else into TMPDIR; the others write into TMPDIR.
    """

    name: str = option(
        help="train, peers, cache, reader, startup, growth, all (of these), inference, sweep or transfer",
        metavar="WHAT",
        positional=True,
        choices=(*BENCHMARKS, "all", INFERENCE, "sweep", "transfer"),
    )
    runs: str | tuple[str, ...] | None = option(
        None, help="inference: run directories of students", metavar="RUN", positional=True, repeatable=True
    )
    teacher: str | None = option(
        None,
        help="inference: what the students are compared with: a run directory, any hub-style directory, or a hub name  "
        "[default: the teacher in the cache of each]",
        metavar="DIR",
    )
    depths: str = option("12,6,4,3,2", help="inference: numbers of layers, for the table over depth", metavar="N,N,…")
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
        "results",
        help="directory to write benchmark-WHAT.json into, or for one benchmark the file itself, NAME.json",
        metavar="DIR",
        affects_result=False,
    )

    def __post_init__(self) -> None:
        """Refuse what only `inference` reads, and depths that are not numbers of layers."""
        super().__post_init__()
        if self.name != INFERENCE:
            for name in ("runs", "teacher", "depths"):
                if not is_default(self, name):
                    what = "RUN" if name == "runs" else option_name(name)
                    raise BadOption(f"{what} belongs to benchmark {INFERENCE}, not to {self.name}. Leave it out")
        if self.teacher is not None and self.runs is None:
            raise BadOption("--teacher is what students are compared with. Name the run of a student before it")
        self.layers()

    def layers(self) -> tuple[int, ...]:
        """Return the numbers of layers of --depths, the largest first. Raises `BadOption`."""
        try:
            layers = {int(part) for part in self.depths.split(",")}
        except ValueError:
            layers = set()
        if len(layers) < 2 or min(layers) < 1 or max(layers) > DEEPEST:
            raise BadOption(
                f"--depths takes two or more different numbers from 1 to {DEEPEST}, as 12,6,3, not "
                f"{one_line(self.depths, 40)!r}"
            )
        return tuple(sorted(layers, reverse=True))
