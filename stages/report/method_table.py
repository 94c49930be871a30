"""The table of methods against the teacher."""

from collections.abc import Iterator, Sequence

from pipeline.config.methods import METHODS
from pipeline.data.intervals import RESAMPLES
from pipeline.errors import shell_line
from stages.report.blocks import Block, Figures, Table, Text
from stages.report.comparison import CONTROL, EXAMPLES_BASIS, SEEDS_BASIS, Comparison, Estimate, Row, score_of
from stages.report.facts import teacher_name, teacher_parameters
from stages.report.figures import score_figure
from stages.report.words import count
from stages.sweep.report.leaderboard import UNKNOWN, score_text, value_text


def headline(comparison: Comparison) -> str:
    """Return the result in a sentence or two."""
    distillation, best = comparison.distillation, comparison.best
    score, teacher = score_of(distillation, best), comparison.teacher.mean
    name = f"{METHODS[best.result.method].display_name} of {count(best.result.student_layers, 'layer')}"
    parameters = teacher_parameters(distillation.cache)
    smaller = f", with {best.result.parameters / parameters:.0%} of its parameters" if parameters else ""
    return (
        f"The best student, {name} in {best.path}, has {comparison.judge} "
        f"{score_text(score)} on {distillation.split}; its teacher, {teacher_name(distillation.cache.manifest)}, has "
        f"{score_text(teacher)}. It keeps {_share(score, teacher)} of the teacher's score{smaller}."
    )


def method_blocks(comparison: Comparison) -> Iterator[Block]:
    """Return the paper's table, what its intervals are, its figure, and every other metric."""
    options = comparison.differing
    matched = any(row.runs[0].result.teacher_layers for row in comparison.rows)
    judged = f"{comparison.judge}, 95 % interval"
    header = ("method", *(["teacher layers"] if matched else []), *options, "seeds", judged, "of the teacher's")
    header = (*header, f"{'points above' if comparison.is_share else 'above'} FT, 95 % interval", "agreement")
    rows = [_cells(comparison, row, options, matched) for row in comparison.rows]
    teacher = comparison.teacher
    blank = [UNKNOWN] * (matched + len(options))
    scores = (_interval_text(comparison, teacher), _share(teacher.mean, teacher.mean))
    rows.append(("Teacher", *blank, UNKNOWN, *scores, UNKNOWN, UNKNOWN))
    best = max(range(len(comparison.rows)), key=lambda place: comparison.rows[place].score.mean)
    yield Table(f"Methods against the teacher, on {comparison.distillation.split}", header, tuple(rows), best)
    yield Text(" ".join(_notes(comparison)))
    yield Figures((score_figure(comparison, "Score of each method"),))
    yield from _other_metrics(comparison)


def _cells(comparison: Comparison, row: Row, options: Sequence[str], matched: bool) -> tuple[str, ...]:
    layers = [",".join(map(str, row.runs[0].result.teacher_layers)) or UNKNOWN] if matched else []
    agreements = [run.result.agreement.get(comparison.distillation.split) for run in row.runs]
    known = [value for value in agreements if value is not None]
    return (
        row.name,
        *layers,
        *(value_text(row.config.get(name)) for name in options),
        str(len(row.runs)),
        _interval_text(comparison, row.score),
        _share(row.score.mean, comparison.teacher.mean),
        "control" if row.method == CONTROL else _difference_text(comparison, row.to_control),
        score_text(sum(known) / len(known)) if known else UNKNOWN,
    )


def _notes(comparison: Comparison) -> Iterator[str]:
    """Yield the sentences without which the table could be misread."""
    estimates = [row.score for row in comparison.rows]
    if any(estimate.basis == SEEDS_BASIS for estimate in estimates):
        yield "An interval is that of the mean over seeds (Student's t)."
    examples = len(comparison.distillation.dev)
    if any(estimate.basis == EXAMPLES_BASIS for estimate in [*estimates, comparison.teacher]):
        yield f"* of one model: a bootstrap over the {examples:,} examples ({RESAMPLES:,} resamples)."
    if tried := [row for row in comparison.rows if row.settings > 1]:
        listed = ", ".join(f"{row.name}: {row.settings}" for row in tried)
        yield (
            f"Several settings were tried ({listed}); a row is the one of most seeds with the best mean, chosen on "
            "these examples, so its score is a little too good."
        )
    yield "Agreement: how often, or how closely, students predict what the teacher predicts."
    if any(row.to_control for row in comparison.rows):
        yield "Differences to FT are paired by seed, of students of the same depth."
    elif any(row.method != CONTROL for row in comparison.rows):
        yield (
            "No run of FT has the depth and the seeds of the others, so the gain over learning from labels only is "
            f"not known. Train one: {_control_line(comparison)}"
        )


def _control_line(comparison: Comparison) -> str:
    run = comparison.rows[0].runs[0]
    cache = [word for place in run.caches for word in ("--cache", place)]
    layers = ["--student-layers", run.result.student_layers]
    return shell_line("train-student", *cache, "--method", CONTROL, *layers, "--seed", run.config.get("seed", 0))


def _other_metrics(comparison: Comparison) -> Iterator[Block]:
    """Yield the means of every other metric, and of every other dev split, if there are some."""
    distillation = comparison.distillation
    measured = [
        (split, metric)
        for split, metrics in comparison.rows[0].runs[0].result.metrics.items()
        for metric in metrics
        if (split, metric) != (distillation.split, comparison.judge)
    ]
    if not measured:
        return
    several = len({split for split, _ in measured} | {distillation.split}) > 1
    header = ("method", *(f"{metric}, {split}" if several else metric for split, metric in measured))
    rows = []
    for row in comparison.rows:
        values = [comparison.mean(row, split, metric) for split, metric in measured]
        rows.append((row.name, *map(score_text, values)))
    metrics = distillation.cache.manifest.teacher_metrics
    rows.append(("Teacher", *(score_text(metrics.get(split, {}).get(metric)) for split, metric in measured)))
    yield Table("Other metrics, means over seeds", header, tuple(rows))


def _share(score: float, teacher: float) -> str:
    return f"{score / teacher:.1%}" if teacher > 0 else UNKNOWN


def _interval_text(comparison: Comparison, estimate: Estimate) -> str:
    """Return a score with its interval, and a mark where that is over examples."""
    mean, low, high = (
        f"{value:.2%}" if comparison.is_share else f"{value:.4f}"
        for value in (estimate.mean, estimate.low, estimate.high)
    )
    return f"{mean} ({low} – {high}){_mark(estimate)}"


def _difference_text(comparison: Comparison, estimate: Estimate | None) -> str:
    """Return a difference with its interval: in points, where scores are in percent."""
    if estimate is None:
        return UNKNOWN
    mean, low, high = (
        f"{100 * value:+.2f}" if comparison.is_share else f"{value:+.4f}"
        for value in (estimate.mean, estimate.low, estimate.high)
    )
    return f"{mean} ({low} to {high}){_mark(estimate)}"


def _mark(estimate: Estimate) -> str:
    return "" if estimate.basis == SEEDS_BASIS else " *"
