"""A finished model that gives logits for texts: of a run, or of an export. Neither rows nor a cache are needed."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.config.options import values_of
from pipeline.config.rows import SHORTEST_INPUT
from pipeline.data.batching import by_length, collate
from pipeline.data.rows.rows import SplitRows
from pipeline.data.splits import Split
from pipeline.data.task_kinds import MULTIPLE_CHOICE, TASK_KINDS, TaskKind, kind_of_model
from pipeline.data.tokenize import tokenize
from pipeline.errors import BadModel, BadOption, one_line
from pipeline.inference.forward import Forward, load_module, onnx_forward, torch_forward
from pipeline.inference.model_source import ONNX, ModelSource, find_model, input_record
from pipeline.models.checkpoints import load_tokenizer, output_names
from pipeline.models.inputs import position_limit
from pipeline.training.input_record import InputRecord
from pipeline.training.learner import EVALUATION_BATCH


@dataclass(frozen=True, eq=False)
class Predictor:
    """A model that is ready to predict.

    `kind` has the model's settings, as a threshold. `model` is the module of torch; None for an ONNX export.
    """

    source: ModelSource
    record: InputRecord
    kind: TaskKind
    tokenizer: Any
    forward: Forward
    precision: str
    device: str
    model: Any = None

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the classes or choices, in the order of the logits; empty where there are none."""
        return self.record.labels

    @property
    def text_columns(self) -> tuple[str, ...]:
        """The columns of the texts of a row: one, or two for pairs."""
        return self.record.text_columns

    @property
    def choices_columns(self) -> tuple[str, ...]:
        """The columns of the choices of a question: one of lists, or one for each; empty for other tasks."""
        return self.record.choices_columns

    @property
    def max_length(self) -> int:
        """The number of tokens at which an input is cut."""
        return self.record.max_length

    @property
    def digest(self) -> str:
        """The SHA-256 of the files of the model and its tokenizer."""
        return self.source.digest

    @property
    def num_logits(self) -> int:
        """C, the number of logits of an example."""
        return self.kind.num_logits(self.labels)

    def split(self, rows: SplitRows) -> Split:
        """Return rows as tokens. Raises `BadRows` for a question that is too long."""
        return tokenize("rows", rows, self.tokenizer, self.max_length)

    def rows(self, *texts: Sequence[str]) -> SplitRows:
        """Return texts, a sequence for each text column, as rows without labels, for a task without choices."""
        labels = self.kind.without_labels(len(texts[0]), self.num_logits)
        return SplitRows(tuple(list(column) for column in texts), labels, labelled=False)

    def logits(
        self, rows: SplitRows, batch_size: int = EVALUATION_BATCH, finished: Callable[[int], object] = lambda _: None
    ) -> np.ndarray:
        """Return the logits of rows, float32 [n, C], in batches of at most `batch_size` sequences of similar length.

        `finished` is called after each batch with its number of examples.
        """
        split = self.split(rows)
        logits = np.zeros((len(rows), self.num_logits), np.float32)
        for places, values in self.batches(split, batch_size):
            logits[places] = values
            finished(len(places))
        return logits

    def batches(self, split: Split, batch_size: int = EVALUATION_BATCH) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield the examples of each batch of a split, int64 [B], and their logits, float32 [B, C]; longest first."""
        ids = np.arange(len(split))
        for places in by_length(ids, split.lengths, split.examples_in(batch_size)):
            inputs = collate(split, places, self.tokenizer.pad_token_id).inputs
            try:
                values = self.forward(inputs)
                if values.shape != (len(places), self.num_logits):
                    raise ValueError(f"it computes {list(values.shape)} numbers for a batch")
            except ValueError as error:
                raise self.source.damaged(self.source.model, error) from error
            yield places, values


def load_predictor(
    place: str | Path,
    *,
    text_columns: tuple[str, ...] = (),
    choices_columns: tuple[str, ...] = (),
    max_length: int | None = None,
    cache: str | tuple[str, ...] | None = None,
    precision: str = "auto",
    device: str = "auto",
) -> Predictor:
    """Return the model of a finished run or of an export, ready to predict.

    `text_columns`, `choices_columns` and `max_length` take the place of the recorded ones, which a run of an earlier
    version does not have if its `cache` is gone. `precision` auto is that of the training where this machine
    multiplies in it. Raises `BadRun`, `BadModel`, `BadCache`, `BadOption`.
    """
    source = find_model(place)
    config = source.config()
    record = _completed(source, input_record(source, config, cache), text_columns, choices_columns, max_length)
    kind = _kind(source, record, config)
    tokenizer = load_tokenizer(str(source.model))
    if source.format == ONNX:
        record = _within_positions(record, tokenizer.model_max_length, max_length)
        return Predictor(source, record, kind, tokenizer, *onnx_forward(source, kind, config, precision))
    model = load_module(source, record, kind, tokenizer)
    record = _within_positions(record, min(position_limit(model), tokenizer.model_max_length), max_length)
    return Predictor(source, record, kind, tokenizer, *torch_forward(model, source, precision, device), model)


def _completed(
    source: ModelSource,
    record: InputRecord,
    text_columns: tuple[str, ...],
    choices_columns: tuple[str, ...],
    max_length: int | None,
) -> InputRecord:
    """Return the record with what options name. Raises `BadOption` where that does not fit, or something is missing."""
    known, has_choices = record.text_columns, record.kind == MULTIPLE_CHOICE.name
    if text_columns and known and len(text_columns) != len(known):
        raise BadOption(
            f"--text-columns {one_line(','.join(text_columns), 80)}: {source.directory} reads "
            f"{'one text' if len(known) == 1 else 'two texts'} per row ({one_line(','.join(known), 80)}). Name as many"
        )
    if choices_columns and not has_choices:
        raise BadOption(
            f"--choices-columns is for questions with choices, and {source.directory} is of a {record.kind} task. "
            "Leave it out"
        )
    record = replace(
        record,
        text_columns=text_columns or known,
        choices_columns=(choices_columns or record.choices_columns) if has_choices else (),
        max_length=max_length or record.max_length,
    )
    needed = {
        "--text-columns": record.text_columns,
        "--choices-columns": record.choices_columns or not has_choices,
        "--max-length": record.max_length,
    }
    if missing := " and ".join(option for option, value in needed.items() if not value):
        facts = f"{source.file} does not say how its rows were read"
        if "text_columns" in source.values:
            raise BadOption(f"{facts}. Give {missing}")
        place = one_line(" and ".join(map(str, values_of(source.values.get("cache")))), 80)
        raise BadOption(
            f"{facts}, and its cache, {place}, is not here. Name its present place with --cache, or give {missing}"
        )
    return record


def _kind(source: ModelSource, record: InputRecord, config: Any) -> TaskKind:
    """Return the kind of task with the settings of the model. Raises `BadRun` where record and model do not agree."""
    names = output_names(config)
    try:
        if record.kind not in TASK_KINDS:
            raise ValueError(f"kind is {record.kind!r:.40}")
        kind = kind_of_model(TASK_KINDS[record.kind], config)
        if kind.num_logits(record.labels) != len(names):
            raise ValueError(f"it has {len(record.labels)} labels, and the model {len(names)} outputs")
        if record.labels and record.labels != names:
            raise ValueError(f"its labels are {', '.join(record.labels)}, and those of the model {', '.join(names)}")
    except ValueError as error:
        raise source.damaged(source.file, error) from error
    return kind


def _within_positions(record: InputRecord, limit: int, given: int | None) -> InputRecord:
    """Return the record, its length cut to that of the model. Raises `BadOption` for a longer one that was given."""
    if given and given > limit:
        raise BadOption(f"--max-length {given}: this model takes {limit} tokens at most. Try --max-length {limit}")
    if limit < SHORTEST_INPUT:
        raise BadModel(f"this model takes {limit} tokens at most, and an input can have {SHORTEST_INPUT}")
    return replace(record, max_length=min(record.max_length, limit))
