"""The options of `export`."""

from dataclasses import dataclass

from pipeline.config.options import Options, option


@dataclass(frozen=True, kw_only=True)
class ExportConfig(Options):
    """Write a finished run as a directory that works without this program, after comparing it with the run.

    safetensors is for transformers, onnx for onnxruntime; both have the tokenizer and a README with lines to run. An
    export that computes something else than its run is not left: float32 logits may differ by 0.0001, and --quantize
    int8 has to agree with the run on 98 % of the examples.
    """

    run: str = option(help="run directory of a student or teacher", metavar="RUN", positional=True)
    format: str = option(help="what is written", group="Output", choices=("onnx", "safetensors"))
    out: str = option(help="directory to write", group="Output", metavar="DIR", affects_result=False)
    quantize: str | None = option(
        None,
        help="int8: weights and matrix products in 8 bits; a quarter of the bytes, and faster; with --format onnx",
        group="Output",
        choices=("int8",),
    )
    allow_loss: bool = option(
        False,
        help="with --quantize: write an export that agrees with the run on fewer than 98 % of the examples",
        group="Output",
        affects_result=False,
    )
    cache: str | tuple[str, ...] | None = option(
        None,
        help="cache or URL to read the examples from, several for a run of several  [default: the run's own cache, or "
        "its task's rows]",
        group="Check",
        metavar="DIR|URL",
        repeatable=True,
        affects_result=False,
    )
    split: str = option(
        "dev", help="examples to compare on: dev (all dev splits), train, test, or the name of one split", group="Check"
    )
    max_examples: int = option(
        1000, help="maximum number of examples per split, evenly spaced; 0: all", group="Check", low=0
    )
    allow_changed_rows: bool = option(
        False,
        help="compare on the task's rows although they are no longer those that the run was trained with",
        group="Check",
        affects_result=False,
    )
