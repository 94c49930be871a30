"""The delivery of a `distill`: the best student exported, and the report of its search."""

from collections.abc import Mapping
from typing import Any

from pipeline.config.distill import AUTO
from pipeline.config.export import ExportConfig
from pipeline.config.report import ReportConfig
from pipeline.errors import BadModel, MissingExtra
from pipeline.system.formatting import size
from pipeline.system.progress import note
from stages import export
from stages.distill.places import Places
from stages.distill.steps import Steps
from stages.export import ExportResult
from stages.report import run as report
from stages.report.run import ReportResult

OPTIONS: Mapping[str, dict[str, Any]] = {  # of --format: the options of `export`
    "onnx-int8": {"format": "onnx", "quantize": "int8"},
    "onnx": {"format": "onnx"},
    "safetensors": {"format": "safetensors"},
}
AUTOMATIC = ("onnx-int8", "safetensors")  # the first that can be written, and that computes what the student does


def export_best(form: str, run: str, places: Places, steps: Steps) -> ExportResult:
    """Return the export of the best student; of --format auto, the one that is there already, if any.

    Raises the errors of `export`; with --format auto those of its last form.
    """
    forms: tuple[str, ...] = AUTOMATIC if form == AUTO else (form,)
    forms = tuple(name for name in forms if places.export(run, name).is_dir()) or forms
    for name in forms[:-1]:
        try:
            return _export(run, name, places, steps)
        except (BadModel, MissingExtra) as error:
            steps.lines.pop()
            note(f"not exported as {name}: {error}")
    return _export(run, forms[-1], places, steps)


def _export(run: str, form: str, places: Places, steps: Steps) -> ExportResult:
    return steps.run("export", export.run, ExportConfig(run=run, out=str(places.export(run, form)), **OPTIONS[form]))


def export_text(result: ExportResult) -> str:
    """Return what was exported, in one line."""
    form = result.format + (f" {result.quantize}" if result.quantize else "")
    speed = f", {result.speedup:.1f} × as fast in batches" if result.speedup else ""
    agreement = f"agrees with the student on {100 * result.agreement:.1f} %"
    return f"Exported: {result.out} ({form}, {size(result.bytes)}; {agreement}{speed})"


def report_search(search: str, places: Places, steps: Steps) -> ReportResult:
    """Return the report of a search."""
    return steps.run("report", report.run, ReportConfig(runs=str(places.sweep(search)), out=str(places.report(search))))
