"""Export a finished run for transformers or onnxruntime. What is written is compared with the run before it is left."""

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.config.evaluation import EvaluateConfig
from pipeline.config.export import ExportConfig
from pipeline.config.options import command_line
from pipeline.data.tasks import TRAIN
from pipeline.errors import BadModel, BadOption, BadRun, one_line
from pipeline.inference.export_card import export_card
from pipeline.inference.export_directory import finished_export, weight_bytes, write_record
from pipeline.inference.exported_model import write_model
from pipeline.inference.model_source import ONNX, ModelSource, find_model
from pipeline.inference.onnx_writer import OPSET, require_onnx
from pipeline.inference.parity import Examples, Logits, Parity, speeds
from pipeline.inference.predictor import Predictor, load_predictor
from pipeline.models.inputs import SEGMENTS
from pipeline.system.cpu import require_single_process
from pipeline.system.files import write_directory
from pipeline.system.progress import note
from pipeline.system.system_errors import reason_of
from pipeline.training.card import CARD
from pipeline.training.measured_run import open_run
from pipeline.training.provenance import environment, shareable

TOLERANCE = 1e-4  # of a logit, in float32
LEAST_AGREEMENT = 0.98  # of a quantised model
CALIBRATION_EXAMPLES = 256
BATCHES = (1, 32)  # whose speed is measured


@dataclass(frozen=True)
class ExportResult:
    """The export beside its run, which computes in float32 on the CPU.

    `speed` has examples per second by batch size, `speedup` is the ratio at the largest; a safetensors export is the
    same model, so there is none. `bytes` are those of the weights.
    """

    command: str
    out: str
    format: str
    quantize: str | None
    examples: int
    metrics_before: dict[str, dict[str, float]]
    metrics_after: dict[str, dict[str, float]]
    agreement: float
    max_difference: float
    bytes_before: int
    bytes: int
    speed: dict[str, dict[str, float]]
    speedup: float | None
    seconds: float


def run(config: ExportConfig) -> ExportResult:
    """Write the export, complete or not at all. One that is there already is returned. Raises a `DistillError`."""
    require_single_process("export")
    started = time.monotonic()
    _check_options(config)
    source, out = find_model(config.run), Path(config.out)
    if source.is_export:
        raise BadRun(f"{one_line(source.directory)} is an export. Name the run that it was made from")
    options = {name: value for name, value in config.identity_options().items() if name != "run"}
    key = {**options, "model_digest": source.digest}
    if (record := finished_export(out, key)) is not None:
        return _recorded(config, record, out)
    examples, predictor, calibration = _opened(config, source)
    before = examples.logits(predictor.forward, "run")
    if not _is_finite(before):
        raise BadRun(f"{one_line(source.directory)}: its predictions are not finite numbers. Train the run again")
    results: list[ExportResult] = []

    def write(directory: Path) -> None:
        forward = write_model(config, predictor, directory, examples.segments, calibration)
        after = examples.logits(forward, "export")
        if not _is_finite(after):
            raise BadModel(
                "the predictions of the export are not finite numbers: nothing was written. Use another --format"
            )
        parity = Parity.between(examples, before, after)
        _check(config, parity)
        speed = speeds(examples, predictor.forward, forward, BATCHES) if config.format == ONNX else {}
        results.append(_result(config, source, directory, parity, speed, time.monotonic() - started))
        record = {**key, **_record(config, predictor, results[0])}
        (directory / CARD).write_text(export_card(record, predictor), encoding="utf-8")
        write_record(directory, record)
        if out.exists() or out.is_symlink():
            raise BadOption(f"{one_line(out)} was made by another process. Name another --out, or remove it")

    try:
        write_directory(out, write)
    except OSError as error:
        raise BadOption(
            f"{one_line(out)} cannot be written ({reason_of(error)}). Make room, or name another --out"
        ) from error
    return results[0]


def _check_options(config: ExportConfig) -> None:
    """Raise `BadOption` for options that do not fit together, `MissingExtra`."""
    if config.format == ONNX:
        require_onnx("--format onnx")
    elif config.quantize:
        raise BadOption(
            f"--quantize {config.quantize} writes ONNX: transformers cannot load a quantised safetensors file. "
            "Use --format onnx"
        )
    if config.allow_loss and not config.quantize:
        raise BadOption("--allow-loss belongs to --quantize int8. Leave it out")


def _opened(config: ExportConfig, source: ModelSource) -> tuple[Examples, Predictor, Examples | None]:
    """Return the examples to compare on, the run, and for a quantised export the examples of its calibration."""
    measured = EvaluateConfig(
        run=str(source.directory),
        split=config.split,
        cache=config.cache,
        allow_changed_rows=config.allow_changed_rows,
    )
    opened = open_run(measured, str(source.directory))
    predictor = load_predictor(source.directory, cache=config.cache, precision="float32", device="cpu")
    pad_id, segments = predictor.tokenizer.pad_token_id, SEGMENTS in predictor.tokenizer.model_input_names
    examples = Examples.spaced(opened.splits, config.max_examples, opened.metrics, pad_id, segments)
    if not config.quantize:
        return examples, predictor, None
    splits = opened.splits
    with suppress(BadOption):  # a run whose training rows do not have labels
        splits = open_run(replace(measured, split=TRAIN), str(source.directory)).splits
    return examples, predictor, Examples.spaced(splits, CALIBRATION_EXAMPLES, opened.metrics, pad_id, segments)


def _is_finite(logits: Logits) -> bool:
    return all(np.isfinite(values).all() for values in logits.values())


def _check(config: ExportConfig, parity: Parity) -> None:
    """Raise `BadModel` for an export that computes something else than its run; note an accepted loss."""
    if not config.quantize and parity.max_difference > TOLERANCE:
        raise BadModel(
            f"the export differs from {one_line(config.run)} by {parity.max_difference:.1e} in a logit, and "
            f"{TOLERANCE:g} is allowed: nothing was written. Use the other --format"
        )
    _check_agreement(config, parity)


def _check_agreement(config: ExportConfig, parity: Parity | ExportResult) -> None:
    """Raise `BadModel` for a quantised export that lost more than allowed; note an accepted loss."""
    if not config.quantize or parity.agreement >= LEAST_AGREEMENT:
        return
    fact = (
        f"--quantize {config.quantize} agrees with {one_line(config.run)} to {100 * parity.agreement:.2f} % on "
        f"{parity.examples:,} examples, below {100 * LEAST_AGREEMENT:g} %{_loss(parity)}"
    )
    if not config.allow_loss:
        raise BadModel(f"{fact}: nothing was written. Leave --quantize out, or add --allow-loss")
    note(f"warning: {fact}")


def _loss(parity: Parity | ExportResult) -> str:
    """Return the change of the first metric in words; nothing without labels."""
    for split, metrics in parity.metrics_before.items():
        for name, value in metrics.items():
            return f" ({name} of {split}: {value:.4f} before, {parity.metrics_after[split][name]:.4f} after)"
    return ""


def _result(
    config: ExportConfig,
    source: ModelSource,
    directory: Path,
    parity: Parity,
    speed: dict[str, dict[str, float]],
    seconds: float,
) -> ExportResult:
    largest = speed.get(str(BATCHES[-1]))
    return ExportResult(
        command="export",
        out=config.out,
        format=config.format,
        quantize=config.quantize,
        **asdict(parity),
        bytes_before=weight_bytes(source.model),
        bytes=weight_bytes(directory),
        speed=speed,
        speedup=round(largest["after"] / largest["before"], 2) if largest else None,
        seconds=round(seconds, 2),
    )


def _record(config: ExportConfig, predictor: Predictor, result: ExportResult) -> dict[str, Any]:
    """Return what export.json says of an export, beside what identifies it."""
    shared = shareable(config)
    return {
        **asdict(result),
        **predictor.record.as_json(),
        "out": shared.out,
        "run": shared.run,
        "settings": dict(predictor.kind.settings),
        "opset": OPSET if config.format == ONNX else None,
        "command_line": command_line("export", shared),
        "environment": environment(),
    }


def _recorded(config: ExportConfig, record: Mapping[str, Any], out: Path) -> ExportResult:
    """Return the result that export.json holds. Raises `BadRun` for that of another version, `BadModel` for a loss."""
    try:
        values = {field.name: record[field.name] for field in fields(ExportResult)}
        result = ExportResult(**{**values, "out": str(out)})
        _check_agreement(config, result)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadRun(
            f"{one_line(out)} was exported by another version of this program. Name another --out, or remove it"
        ) from error
    return result
