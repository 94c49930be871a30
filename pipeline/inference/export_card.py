"""README.md of an export: the card of its run, how to use the export, and what it computes and costs beside the run."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipeline.inference.model_source import ONNX
from pipeline.inference.onnx_usage import onnx_usage
from pipeline.inference.predictor import Predictor
from pipeline.system.markdown import code, fenced, markdown_table
from pipeline.training.card import model_card
from pipeline.training.card_usage import PLACE, usage


def export_card(record: Mapping[str, Any], predictor: Predictor) -> str:
    """Return the page for an export of this run with this export.json. Its lines of Python run in its directory."""
    run = {**predictor.source.values, **predictor.record.as_json(), "settings": dict(predictor.kind.settings)}
    if record["format"] == ONNX:
        packages, lines = "onnxruntime transformers", fenced(onnx_usage(predictor.record, predictor.kind), "python")
    else:
        packages, lines = "torch transformers", usage(run).replace(PLACE, ".")
    how_to_use = f"In this directory, after `pip install {packages}`:\n\n{lines}"
    return model_card(run, [("Export", _export(record))], how_to_use)


def _export(record: Mapping[str, Any]) -> str:
    form = f"{'ONNX' if record['format'] == ONNX else 'safetensors'}, {record['quantize'] or 'float32'}"
    return "\n\n".join(
        [
            f"{form}, compared with the run in float32 on {record['examples']:,} examples: the largest difference of a "
            f"logit is {record['max_difference']:.1e}, and the predictions agree to {100 * record['agreement']:.2f} %.",
            markdown_table(("", "run", "export"), _rows(record)),
            fenced(record["command_line"], "console"),
        ]
    )


def _rows(record: Mapping[str, Any]) -> Iterator[Sequence[str]]:
    for split, metrics in record["metrics_before"].items():
        for name, value in metrics.items():
            yield f"{code(split)} {code(name)}", f"{value:.4f}", f"{record['metrics_after'][split][name]:.4f}"
    yield "bytes of the weights", f"{record['bytes_before']:,}", f"{record['bytes']:,}"
    for count, speed in record["speed"].items():
        yield f"examples per second, batch {count}", f"{speed['before']:,.0f}", f"{speed['after']:,.0f}"
