"""README.md of an export: what it is, how to use it, and what it computes and costs beside its run."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.errors import one_line
from pipeline.inference.export_usage import Usage

_MARKS = re.compile(r"([\\`*_{}\[\]<>#|!~&])")  # of markdown, which names of others may have


def export_card(record: Mapping[str, Any], usage: Usage) -> str:
    """Return the page for an export with this export.json."""
    packages = "onnxruntime transformers" if record["format"] == "onnx" else "torch transformers"
    paragraphs = [
        f"# {escaped(record['task'] or 'task')}: {usage.kind.title}, {_form(record)}",
        f"Exported from the run `{_code(record['run'])}` with `{_code(record['command_line'])}`.",
        "## Usage",
        f"In this directory, after `pip install {packages}`:",
        f"```python\n{usage.lines(record['format'])}```",
        "## Comparison with the run",
        f"On {record['examples']:,} examples; the run computes in float32. The largest difference of a logit is "
        f"{record['max_difference']:.1e}, and the predictions agree to {100 * record['agreement']:.2f} %.",
        "\n".join(_table(record)),
    ]
    return "\n\n".join(paragraphs) + "\n"


def _form(record: Mapping[str, Any]) -> str:
    number = "int8" if record["quantize"] else "float32"
    return f"ONNX {number}" if record["format"] == "onnx" else f"safetensors {number}"


def _table(record: Mapping[str, Any]) -> list[str]:
    rows: list[Sequence[str]] = [("", "run", "export"), ("---", "---:", "---:")]
    for split, metrics in record["metrics_before"].items():
        for name, value in metrics.items():
            after = record["metrics_after"][split][name]
            rows.append((escaped(f"{split} {name}"), f"{value:.4f}", f"{after:.4f}"))
    rows.append(("bytes of the weights", f"{record['bytes_before']:,}", f"{record['bytes']:,}"))
    for count, speed in record["speed"].items():
        before, after = (f"{speed[side]:,.0f}" for side in ("before", "after"))
        rows.append((f"examples per second, batch {count}", before, after))
    return [f"| {' | '.join(row)} |" for row in rows]


def escaped(text: object) -> str:
    """Return a name of others as plain text in markdown."""
    return _MARKS.sub(r"\\\1", one_line(text))


def _code(text: object) -> str:
    """Return a text of others for a code span, which ends at the next backtick."""
    return one_line(text, 400).replace("`", "'")
