"""The sections of a report, in their order."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from pipeline.cache.format.columns import LOGITS
from pipeline.config.report import ReportConfig
from pipeline.data.calibration import BINS, calibration
from pipeline.data.evaluation import labelled
from pipeline.pages.picture import Picture
from stages.report.blocks import Block, Figures, Heading, Section, Table, Text
from stages.report.command_lines import command_lines
from stages.report.comparison import Comparison, compare
from stages.report.cost_blocks import cost_blocks
from stages.report.curve_figures import learning_figure, loss_figure, patience_figure
from stages.report.disagreements import disagreements
from stages.report.facts import data_facts, sweep_facts
from stages.report.figures import TEACHER, method_look, reliability_figure
from stages.report.inference_speed import read_speeds
from stages.report.inputs import Inputs
from stages.report.method_table import headline, method_blocks
from stages.report.size_and_speed import size_and_speed
from stages.report.student_run import LogLine, StudentRun
from stages.report.words import count

Logs = Mapping[StudentRun, Sequence[LogLine]]


@dataclass(frozen=True)
class Report:
    """A report: its title, its first sentences, its sections, and the table of each cache."""

    title: str
    headline: tuple[str, ...]
    sections: tuple[Section, ...]
    comparisons: tuple[Comparison, ...]


def make_report(inputs: Inputs, config: ReportConfig) -> Report:
    """Return the report of some runs, with its figures not yet drawn as SVG."""
    comparisons = tuple(compare(distillation) for distillation in inputs.distillations)
    logs = {run: run.log() for run in inputs.runs}
    speeds = read_speeds(config.inference, inputs.runs) if config.inference else None

    def each(blocks: Callable[[Comparison], Iterator[Block] | Sequence[Block]]) -> list[Block]:
        """Return the blocks of every cache, under its name where there are several."""
        made: list[Block] = []
        for comparison in comparisons:
            if len(comparisons) > 1:
                made.append(Heading(f"From {comparison.distillation.cache.location}"))
            made += blocks(comparison)
        return made

    facts = each(lambda comparison: [data_facts(comparison)])
    sections = (
        Section("Data and teacher", facts + ([sweep_facts(inputs.sweeps)] if inputs.sweeps else [])),
        Section("Methods", each(method_blocks)),
        Section("Size and speed", each(lambda comparison: size_and_speed(comparison, speeds))),
        Section("Learning curves", each(lambda comparison: _curves(comparison, logs))),
        Section("Patience loss by layer", each(lambda comparison: _patience(comparison, logs))),
        Section("Disagreements", each(lambda comparison: _disagreements(comparison, config.examples))),
        Section("Calibration", each(_calibration)),
        Section("Cost", each(cost_blocks)),
        Section("Commands", command_lines(inputs, comparisons, config)),
    )
    return Report(f"Distillation of {inputs.task}", tuple(map(headline, comparisons)), sections, comparisons)


def _curves(comparison: Comparison, logs: Logs) -> Iterator[Block]:
    pictures = [
        learning_figure(comparison, logs, "Score while training"),
        loss_figure(comparison, logs, "Training loss"),
    ]
    yield from _drawn(pictures)


def _patience(comparison: Comparison, logs: Logs) -> Iterator[Block]:
    pictures = [patience_figure(row, logs, f"Patience loss of {row.name}") for row in comparison.rows]
    if drawn := [picture for picture in pictures if picture is not None]:
        yield Text(
            "Distance of the normalised [CLS] vectors of a student layer and the teacher layer that it matches, mean "
            "over the runs of a method."
        )
        yield Figures(tuple(drawn))
    else:
        yield Text("No run of this report matches layers of the teacher: its methods do not have a patience loss.")


def _disagreements(comparison: Comparison, most: int) -> Iterator[Block]:
    distillation, best = comparison.distillation, comparison.best
    given, size = disagreements(distillation, best, most), len(distillation.dev)
    kind = distillation.metrics.kind
    if not distillation.metrics.classes:
        fact = f"The scores of {best.path} and of its teacher are {given.mean_distance:.4g} apart on average"
        order = " The first are those that are furthest apart."
    else:
        fact = f"{best.path} and its teacher disagree on {given.count:,}"
        order = " The first are those of which the student is surest."
        if not kind.distributes:
            order = " The first are those whose probabilities of a class differ most."
    share = f" ({given.count / size:.1%})" if distillation.metrics.classes else ""
    yield Text(f"{fact} of {count(size, 'example')} of {distillation.split}{share}.{order if given.examples else ''}")
    if given.examples and not given.has_texts:
        yield Text("The cache does not keep the texts of its rows: examples are named by their number.")
    yield from given.examples


def _calibration(comparison: Comparison) -> Iterator[Block]:
    distillation, best = comparison.distillation, comparison.best
    dev, kind = distillation.dev, best.kind(distillation.cache)
    models = []
    for name, model_kind, logits, look in (
        ("best student", kind, kind.from_stored(best.logits(distillation.split)), method_look(best.result.method)),
        ("teacher", distillation.metrics.kind, dev.column(LOGITS), TEACHER),
    ):
        bins = calibration(model_kind, *labelled(model_kind, logits, dev.labels))
        if bins is None:
            yield Text("The predictions of this task are scores, which do not have a probability to calibrate.")
            return
        models.append((name, bins, *look))
    yield Text(
        "A calibrated model is right as often as its probability says. The expected calibration error is the mean "
        f"distance between the two, here in {BINS} bins of equal width on {distillation.split}."
    )
    rows = tuple((name, f"{bins.error:.2%}") for name, bins, _, _ in models)
    yield Table("Expected calibration error", ("model", "error"), rows)
    yield Figures((reliability_figure(models, "Reliability of the best student and of the teacher"),))


def _drawn(pictures: Sequence[Picture]) -> Iterator[Block]:
    """Yield the pictures that have a figure, and the notes of the others as text."""
    yield from (Text(picture.note) for picture in pictures if picture.figure is None)
    if drawn := tuple(picture for picture in pictures if picture.figure is not None):
        yield Figures(drawn)
