"""The complete method on packaged data, with few labels and many sentences: a teacher, its cache, and students."""

import dataclasses
import json
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.cache.open import open_cache
from pipeline.config.evaluation import EvaluateConfig
from pipeline.config.export import ExportConfig
from pipeline.config.methods import METHODS
from pipeline.config.report import ReportConfig
from pipeline.config.training import (
    CacheTeacherConfig,
    FinetuneTeacherConfig,
    QuickstartConfig,
    TrainStudentConfig,
)
from pipeline.data.tasks import TRAIN
from pipeline.models.accelerator import make_accelerator, prepare_for_cls, resolve_precision
from pipeline.models.checkpoints import load_classifier
from pipeline.system.cpu import require_single_process
from pipeline.system.files import read_json, write_json, write_text
from pipeline.system.markdown import markdown_table
from pipeline.system.progress import show
from pipeline.training.learner import predict
from pipeline.training.provenance import environment
from pipeline.training.run_reader import MODEL
from pipeline.training.student import StudentResult
from stages import cache_teacher, evaluate, export, finetune_teacher, train_student
from stages.distill.steps import Steps
from stages.report import run as report

TASK = "movie-reviews"
STUDENT_LAYERS, CLASSES = 3, 2
STUDENTS = ("ft", "kd", "pkd-skip", "pkd-last")
LABEL_EPOCHS = 20.0  # of a training on labels alone: of the teacher, and of FT
AT_THE_END = 1_000_000  # steps: dev is not looked at before
FEW_LABELS = 200  # a teacher trained on fewer may be no better than the most frequent label
HEADER = "model, layers, learned from, accuracy, agrees with teacher, parameters, examples/s, trained in".split(", ")
SPEED_EXAMPLES, SPEED_ROUNDS = 512, 3
EXPORT_EXAMPLES = 200  # on which the export is compared with its run


@dataclass(frozen=True)
class Row:
    """One line of the table: `seconds` to train, `agreement` with the teacher's predictions."""

    model: str
    layers: int
    labelled_examples: int
    unlabelled_examples: int
    accuracy: float
    agreement: float
    parameters: int
    inference_examples_per_second: float
    seconds: float
    command: str


@dataclass(frozen=True)
class QuickstartResult:
    """The table, and the time that it took to compute."""

    command: str
    out: str
    seconds: float
    rows: list[Row]
    cache_seconds: float | None  # None: an interrupted call wrote some shards, so the total was not timed


def run(config: QuickstartConfig) -> QuickstartResult:
    """Run every command that is not finished yet, and print the table; reuse what earlier calls finished."""
    require_single_process("quickstart")
    started = time.monotonic()
    name = f"quickstart-{config.labels}-labels" + ("-full" if config.full else f"-{config.examples}")
    name += f"-seed-{config.seed}" if config.seed else ""
    out = Path("runs") / name
    teacher, cache, students = _commands(config, name, out)
    steps = Steps()
    results: list[Any] = [steps.run("finetune-teacher", finetune_teacher.run, teacher)]
    cached = steps.run("cache-teacher", cache_teacher.run, cache)
    results += [steps.run("train-student", train_student.run, student) for student in students]
    made_from = [cached.identity, *(vars(result) for result in results)]
    earlier = _earlier(out, made_from)
    final = earlier or _measured(out, started, steps, results, cached)
    table = _table(final.rows, cached, final.cache_seconds)
    show(table)
    _deliver(final, [result.out for result in results[1:]], name, steps)
    if earlier:
        return earlier
    record = dataclasses.asdict(final) | {"made_from": made_from, "environment": environment()}
    for path in [out / "table"] + ([Path("results") / "quickstart-full"] if config.full else []):
        write_json(path.with_suffix(".json"), record)
        write_text(path.with_suffix(".md"), table + "\n")
    return final


def _deliver(final: QuickstartResult, students: list[str], name: str, steps: Steps) -> None:
    """Export the best student as transformers loads it, and write the report of all."""
    scores = [row.accuracy for row in final.rows[1:]]
    best = students[scores.index(max(scores))]
    exported = ExportConfig(
        run=best, format="safetensors", out=f"exports/{name}-{Path(best).name}", max_examples=EXPORT_EXAMPLES
    )
    steps.run("export", export.run, exported)
    steps.run("report", report.run, ReportConfig(runs=tuple(students), out=f"reports/{name}"))


def _commands(
    config: QuickstartConfig, name: str, out: Path
) -> tuple[FinetuneTeacherConfig, CacheTeacherConfig, list[TrainStudentConfig]]:
    """Return the options of every command before the evaluation."""
    rows: dict[str, Any] = {"task": TASK, "labels_per_class": config.labels // CLASSES}
    common: dict[str, Any] = {"seed": config.seed, "resume": True, "select": "last", "eval_every": AT_THE_END}
    teacher = FinetuneTeacherConfig(model="demo", epochs=LABEL_EPOCHS, out=str(out / "teacher"), **rows, **common)
    few = config.labels < FEW_LABELS
    cache = CacheTeacherConfig(teacher=str(out / "teacher"), cache=f"data/{name}", allow_weak_teacher=few, **rows)
    distilled: dict[str, Any] = {
        "alpha": 1.0,
        "epochs": 4.0 if config.full else 3.0,
        "max_transfer_examples": 0 if config.full else config.examples,
    }
    students = [
        TrainStudentConfig(
            cache=f"data/{name}",
            method=method,
            student_layers=STUDENT_LAYERS,
            out=str(out / f"{method}-{STUDENT_LAYERS}"),
            **(distilled if "logit" in METHODS[method].terms else {"epochs": LABEL_EPOCHS}),
            **common,
        )
        for method in STUDENTS
    ]
    return teacher, cache, students


def _earlier(out: Path, made_from: list[Any]) -> QuickstartResult | None:
    """Return the result of an earlier call that measured these same runs, or None."""
    try:
        record = read_json(out / "table.json")
        if record["made_from"] != json.loads(json.dumps(made_from)):
            return None
        values = {field.name: record[field.name] for field in dataclasses.fields(QuickstartResult)}
        return QuickstartResult(**values | {"rows": [Row(**row) for row in record["rows"]]})
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _measured(
    out: Path, started: float, steps: Steps, results: list[Any], cached: cache_teacher.CacheResult
) -> QuickstartResult:
    """Evaluate the saved runs again, and time them."""
    commands = [steps.lines[0], *steps.lines[2:]]  # without cache-teacher
    checks = [
        steps.run("evaluate", evaluate.measure, EvaluateConfig(run=result.out, cache=cached.out))[0]
        for result in results
    ]
    speeds = _inference_speeds([Path(result.out) / MODEL for result in results], Path(cached.out))
    rows = [
        Row(
            model,
            layers,
            *(_learned_from(result) if layers == STUDENT_LAYERS else (cached.examples[TRAIN], 0)),
            check.metrics["dev"]["accuracy"],
            check.agreement["dev"],
            result.parameters,
            speed,
            result.seconds,
            command,
        )
        for (model, layers), result, check, speed, command in zip(
            _models(), results, checks, speeds, commands, strict=True
        )
    ]
    rate = cached.examples_per_second
    cache_seconds = round(sum(cached.examples.values()) / rate, 2) if rate else None
    return QuickstartResult("quickstart", str(out), round(time.monotonic() - started, 2), rows, cache_seconds)


def _learned_from(result: StudentResult) -> tuple[int, int]:
    """Return how many examples with and without labels a student has learned from."""
    return result.labelled_examples or 0, result.unlabelled_examples or 0


def _models() -> list[tuple[str, int]]:
    return [("teacher", 6), *((METHODS[method].display_name, STUDENT_LAYERS) for method in STUDENTS)]


def _inference_speeds(models: list[Path], cache: Path) -> list[float]:
    """Return the examples per second of each model on dev sentences, in turn: the median of the rounds."""
    opened = open_cache(cache)
    split, pad_id = opened.splits["dev"], opened.manifest.model.pad_id
    accelerator = make_accelerator(resolve_precision("auto"))
    loaded = [
        prepare_for_cls(load_classifier(str(model), safetensors_only=True), accelerator.device) for model in models
    ]
    ids = np.arange(min(SPEED_EXAMPLES, len(split)))
    rates: list[list[float]] = [[] for _ in models]
    for _ in range(SPEED_ROUNDS):
        for model, measured in zip(loaded, rates, strict=True):
            started = time.monotonic()
            predict(model, split, pad_id, accelerator, ids)
            measured.append(len(ids) / (time.monotonic() - started))
    return [round(statistics.median(measured), 1) for measured in rates]


def _sentences(row: Row) -> str:
    if not row.unlabelled_examples:
        return f"{row.labelled_examples:,} labels"
    return f"the teacher, on {row.labelled_examples + row.unlabelled_examples:,} sentences"


def _table(rows: list[Row], cached: cache_teacher.CacheResult, cache_seconds: float | None) -> str:
    """Return the rows in Markdown, with the cost of the teacher below."""
    cells = [
        [
            row.model,
            str(row.layers),
            _sentences(row),
            f"{row.accuracy:.1%}",
            f"{row.agreement:.1%}",
            f"{row.parameters / 1e6:.1f} M",
            f"{row.inference_examples_per_second:,.0f}",
            f"{row.seconds:.0f} s",
        ]
        for row in rows
    ]
    examples = sum(cached.examples.values())
    took = f" ({cache_seconds:.0f} s)" if cache_seconds is not None else ""
    return (
        f"{markdown_table(HEADER, cells)}\n\nThe teacher ran once over {examples:,} sentences{took} and wrote "
        f"{cached.bytes / 1e6:.0f} MB; the students read that. FT has the labels that the teacher had. One seed, "
        f"{cached.examples['dev']:,} dev sentences: the standard error of an accuracy is 1 point."
    )
