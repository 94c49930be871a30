"""A model that runs here and makes the targets of a cache."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pipeline.cache.format.identity import CacheIdentity
from pipeline.cache.format.manifest import FORMAT_VERSION, FileRecord, Manifest, ModelRecord, TaskRecord
from pipeline.cache.teacher_files import write_teacher_files
from pipeline.cache.writer import CacheWriter
from pipeline.config.training import CacheTeacherConfig
from pipeline.data.rows.rows import TaskRows
from pipeline.data.splits import Split, split_digest
from pipeline.data.spool import Spool
from pipeline.data.tasks import Task
from pipeline.data.tokenize import tokenize_rows
from pipeline.distillation.layer_map import parse_layers
from pipeline.models.accelerator import make_accelerator, resolve_precision
from pipeline.models.checkpoints import check_cuts
from pipeline.models.encoders import depth_of
from pipeline.models.inputs import SEGMENTS, check_max_length, fit_tokenizer, segment_rows
from pipeline.models.tokenizer import check_tokenizer_saves
from pipeline.system.cpu import available_cores
from pipeline.system.digests import config_digest, tokenizer_digest, weights_digest
from pipeline.system.formatting import duration
from pipeline.teacher import preflight
from pipeline.teacher.forward import BATCHING, teacher_pass
from pipeline.teacher.locate import Teacher, load_teacher
from pipeline.teacher.shard_queue import Advance, ShardPool, ShardTask
from pipeline.teacher.shard_workers import in_processes, in_this_process
from pipeline.teacher.teacher_rows import differences


@dataclass(frozen=True)
class RunningTeacher:
    """A loaded teacher; a `TargetMaker`. `made_by` is the digest of its tokenizer as it was loaded."""

    teacher: Teacher
    made_by: str
    precision: str  # that it computes in
    workers: int

    @property
    def name(self) -> str:
        """The checkpoint."""
        return self.teacher.name

    @property
    def task(self) -> Task:
        """The task, with its classes in the order of the teacher's outputs."""
        return self.teacher.task

    @property
    def way_on(self) -> str:
        """The way on from a weak teacher."""
        return "Check --teacher, train it longer"

    @cached_property
    def accelerator(self) -> Any:
        """Device and precision of the teacher."""
        return make_accelerator(self.precision)

    def examples(self, rows: TaskRows, config: CacheTeacherConfig, spool: Spool) -> dict[str, Split]:
        """Return the splits, tokenised for the teacher."""
        return tokenize_rows(
            rows,
            self.task.labels,
            self.teacher.tokenizer,
            config.max_length,
            config.shard_rows,
            spool,
            texts=not config.no_text,
        )

    def manifest(self, config: CacheTeacherConfig, splits: Mapping[str, Split]) -> Manifest:
        """Return what is known before the first forward pass: the identity and the shape of the columns."""
        model, tokenizer, task = self.teacher.model, self.teacher.tokenizer, self.task
        depth = depth_of(model.config)
        layers = tuple(range(1, depth)) if config.layers == "all" else parse_layers("--layers", config.layers, depth)
        identity = CacheIdentity(
            format=FORMAT_VERSION,
            teacher_weights=weights_digest(model.state_dict()),
            teacher_config=config_digest(model.config),
            teacher_tokenizer=self.made_by,
            splits={split: split_digest(part, config.shard_rows) for split, part in splits.items()},
            max_length=config.max_length,
            layers=layers,
            labels=task.labels,
            shard_rows=config.shard_rows,
            dtype=config.dtype,
            compute=self.precision,
            batching=BATCHING,
            sequences=task.kind.sequences(task.num_logits),
            kind=task.kind.name,
            texts=0 if config.no_text else len(task.text_columns),
        )
        record = ModelRecord(
            type=model.config.model_type,
            depth=depth,
            hidden=model.config.hidden_size,
            classes=task.num_logits,
            pad_id=tokenizer.pad_token_id,
            token_types=segment_rows(model) if SEGMENTS in tokenizer.model_input_names else 0,
            vocabulary=model.config.vocab_size,
        )
        columns = () if config.no_text else task.text_columns
        task_record = TaskRecord(task.name, task.labels, task.metrics, task.kind.settings, columns)
        return Manifest(identity, config.format, task_record, record)

    def file_bytes(self) -> int:
        """Return the bytes of the weights. Raises `BadModel` for a model that cannot be kept layer by layer."""
        check_cuts(self.teacher.model)
        return preflight.teacher_bytes(self.teacher.model)

    def write_files(self, writer: CacheWriter) -> dict[str, FileRecord]:
        """Write teacher/ unless it exists; return the records of its files."""
        return writer.write_teacher(lambda to: write_teacher_files(to, self.teacher.model, self.teacher.tokenizer))

    def doubts(self, config: CacheTeacherConfig, splits: Mapping[str, Split]) -> list[str]:
        """Return in words what is not as in the training of the teacher."""
        return differences(self.name, config, splits, self.task.kind)

    def is_ready(self, writer: CacheWriter) -> bool:
        """Return whether teacher/ is in the cache: workers load the teacher from there."""
        return writer.teacher_files() is not None

    def outlook(self, manifest: Manifest, splits: Mapping[str, Split], work: Sequence[ShardTask]) -> tuple[str, str]:
        """Return the layers, and about how long these shards will take, by a measured batch."""
        with teacher_pass(self.teacher.model, self.accelerator, manifest, available_cores()) as running:
            rate = running.tokens_per_second(splits[work[0][0]], *work[0][2:]) if work else 0.0
        tokens = sum(int(splits[name].tokens[start:stop].sum()) for name, _, start, stop in work)
        layers = ", ".join(map(str, manifest.layers)) or "none"
        return f"[CLS] of layers {layers}", f"about {duration(tokens / rate if rate else 0)} by a measured batch"

    @contextmanager
    def pool(
        self, writer: CacheWriter, manifest: Manifest, splits: Mapping[str, Split], advance: Advance, computed: Advance
    ) -> Iterator[ShardPool]:
        """Open the workers: processes of their own, or this one."""
        if self.workers > 1:
            with in_processes(writer, manifest, splits, self.workers, advance, computed) as pool:
                yield pool
        else:
            with teacher_pass(self.teacher.model, self.accelerator, manifest, available_cores()) as running:
                yield in_this_process(writer, splits, running, advance, computed)


def running_teacher(rows: TaskRows, config: CacheTeacherConfig) -> RunningTeacher:
    """Return the teacher that `config` names, with a tokenizer that fits it. Raises a `DistillError`."""
    teacher = load_teacher(rows.task, config, config.teacher, config.revision, config.label_map)
    made_by = tokenizer_digest(teacher.tokenizer)
    fit_tokenizer(teacher.name, teacher.tokenizer, teacher.model, rows.texts)
    check_max_length(config.max_length, teacher.tokenizer, teacher.model)
    check_tokenizer_saves(teacher.name, teacher.tokenizer, teacher.model.config)
    return RunningTeacher(teacher, made_by, resolve_precision(config.precision), config.workers)
