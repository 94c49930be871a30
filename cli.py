"""Command line: options in, one stage called, result out. torch and transformers are imported inside a command."""

import dataclasses
import errno
import importlib
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import click

from pipeline.errors import DistillError, Interrupted
from pipeline.settings import option_name, value_type
from stages.configs import (
    BenchmarkConfig,
    CacheConvertConfig,
    CacheDiffConfig,
    CacheGcConfig,
    CacheInfoConfig,
    CacheLsConfig,
    CachePullConfig,
    CachePushConfig,
    CacheTeacherConfig,
    CacheVerifyConfig,
    EvaluateConfig,
    FinetuneTeacherConfig,
    QuickstartConfig,
    SweepCompareConfig,
    SweepConfig,
    SweepDirectoryConfig,
    SweepRegretConfig,
    TrainStudentConfig,
)

DISK_REFUSES = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ELOOP)
KEEPS_WHAT_IS_DONE = (
    *("cache_teacher", "quickstart", "sweep"),
    *("cache_tools.convert", "cache_tools.pull", "cache_tools.push"),
)


class Number(click.ParamType):
    """Whole numbers and fractions, with the words of pipeline/settings.py for what is neither."""

    def __init__(self, kind: type):
        self.kind = kind
        self.name = "int" if kind is int else "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return self.kind(value)
        except (TypeError, ValueError):
            noun = "a whole number" if self.kind is int else "a number"
            self.fail(f"{value!r} is not {noun}.", param, ctx)


class OneOf(click.Choice):
    """Choices that are named in one line where an argument is missing."""

    def get_missing_message(self, param: click.Parameter, ctx: click.Context | None) -> str:
        return f"Choose from {', '.join(map(str, self.choices))}"


def options_of(config: type) -> Callable[[Callable], Callable]:
    """A decorator with one click option for each field of a stage's configuration."""

    def decorate(function: Callable) -> Callable:
        own = config.__annotations__  # a command's own options come first, then those that it shares
        fields = sorted(dataclasses.fields(config), key=lambda field: field.name not in own)
        for field in reversed(fields):
            declare = _argument(field) if field.metadata["positional"] else _option(config, field)
            function = declare(function)
        return function

    return decorate


def _argument(field: dataclasses.Field) -> Callable[[Callable], Callable]:
    declared: dict[str, Any] = {"metavar": field.metadata["metavar"], "required": True}
    if field.default is not dataclasses.MISSING:
        declared |= {"required": False, "default": field.default}  # a default of None would count as one
    if field.metadata["choices"]:
        declared["type"] = OneOf(field.metadata["choices"])
    return click.argument(field.name, **declared)


def _option(config: type, field: dataclasses.Field) -> Callable[[Callable], Callable]:
    kind, meta = value_type(config, field.name), field.metadata
    required = field.default is dataclasses.MISSING
    declared: dict[str, Any] = {"help": meta["help"], "required": required}
    if kind is bool:
        return click.option(option_name(field.name), field.name, is_flag=True, help=meta["help"])
    if not required:
        declared |= {"default": field.default, "show_default": field.default is not None}
    if meta["choices"]:
        declared["type"] = click.Choice(meta["choices"])
    else:
        declared |= {"type": Number(kind) if kind in (int, float) else kind, "metavar": meta["metavar"]}
    return click.option(option_name(field.name), field.name, **declared)


def run_stage(name: str, config: type, options: dict[str, Any]) -> None:
    """Call stages.NAME.run(config) and print its result as the last line of stdout.

    Ctrl-C and SIGTERM leave every with-block first: temporary directories and child processes end with them.
    """
    try:
        checked = config(**options)
        with _sigterm_raises():
            result = importlib.import_module(f"stages.{name}").run(checked)
    except Interrupted as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(error.exit_code)
    except DistillError as error:
        raise click.UsageError(str(error), click.get_current_context()) from error
    except OSError as error:
        if error.errno not in DISK_REFUSES:
            raise
        reason = f"{error.filename or 'the disk'}: {error.strerror}"
        text = f"{reason}. Make room or name another directory, then run the same command again"
        raise click.UsageError(text, click.get_current_context()) from error
    except Terminated:
        click.echo(f"Error: stopped by SIGTERM. {_after_a_stop(name)}", err=True)
        sys.exit(128 + signal.SIGTERM)
    except KeyboardInterrupt:
        click.echo(f"Error: stopped. {_after_a_stop(name)}", err=True)
        sys.exit(128 + signal.SIGINT)
    if _is_main_process():
        click.echo(json.dumps(dataclasses.asdict(result), allow_nan=False))


class Terminated(KeyboardInterrupt):
    """SIGTERM, raised where Ctrl-C would be."""


@contextmanager
def _sigterm_raises() -> Iterator[None]:
    """`Terminated` in the main thread, once: a second SIGTERM does not disturb what the first one ends."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(_number: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise Terminated

    earlier = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, earlier)


def _after_a_stop(stage: str) -> str:
    """What the user of a stage that was stopped can do."""
    if stage in ("finetune_teacher", "train_student"):
        return "Run the same command with --resume to go on"
    if stage in KEEPS_WHAT_IS_DONE:
        return "Run the same command to go on: what is finished is kept"
    return "Run the same command to start again"


def _is_main_process() -> bool:
    return os.environ.get("RANK", "0") == "0"


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="pkd-distill")
def main() -> None:
    """Distil BERT-like encoders offline: cache a teacher once, train any number of students from the cache.

    \b
    finetune-teacher   a teacher from a pre-trained encoder
    cache-teacher      its logits and [CLS] vectors, once
    train-student      any number of students, without the teacher
    evaluate           a run's metrics again
    sweep              the best of many students: a grid, or part of it
    quickstart         all of it on packaged data, in minutes
    cache              look into caches, check, repair, convert and share them
    benchmark          how fast all this is here, against other ways
    """


@main.command("finetune-teacher")
@options_of(FinetuneTeacherConfig)
def finetune_teacher(**options: Any) -> None:
    """Fine-tune a pre-trained encoder on a task; the result is a teacher."""
    run_stage("finetune_teacher", FinetuneTeacherConfig, options)


@main.command("cache-teacher")
@options_of(CacheTeacherConfig)
def cache_teacher(**options: Any) -> None:
    """Run the teacher once over every split and keep what students need.

    The cache is self-contained: a copy of its directory trains students on any machine.
    """
    run_stage("cache_teacher", CacheTeacherConfig, options)


@main.command("train-student")
@options_of(TrainStudentConfig)
def train_student(**options: Any) -> None:
    """Train a student from a cache: no teacher, no raw data, no tokenisation.

    \b
    ft        labels only
    kd        and the teacher's logits
    pkd-skip  and the [CLS] vectors of every few teacher layers
    pkd-last  and the [CLS] vectors of the last ones
    """
    run_stage("train_student", TrainStudentConfig, options)


@main.command()
@options_of(EvaluateConfig)
def evaluate(**options: Any) -> None:
    """Measure a teacher or student run again, from its cache or its task."""
    run_stage("evaluate", EvaluateConfig, options)


@main.command()
@options_of(QuickstartConfig)
def quickstart(**options: Any) -> None:
    """Distil the packaged six-layer BERT on packaged film reviews: a teacher, one cache, four students, a table."""
    run_stage("quickstart", QuickstartConfig, options)


@main.group(invoke_without_command=True)
@options_of(SweepConfig)
@click.pass_context
def sweep(context: click.Context, **options: Any) -> None:
    """Search for the best student over many trainings from a cache. The teacher is not run.

    Trials that are complete, in this sweep or in runs/, are not run again. Stop it at any time, with Ctrl-C or
    otherwise: the same command goes on. The space is a TOML file with train-student's options, with underscores, as:

    \b
      method = ["pkd-skip", "pkd-last"]
      student_layers = 3
      lr = [5e-5, 2e-5]                          # or, for bayes:
      beta = {low = 10, high = 1000, log = true}

    Options that go together stand under [[either]] (docs/sweeps.md).

    From another terminal: sweep status DIR. A table of all trials, and the page sweep.html: sweep show DIR.
    """
    if context.invoked_subcommand is None:
        run_stage("sweep", SweepConfig, options)


@sweep.command("status")
@options_of(SweepDirectoryConfig)
def sweep_status(**options: Any) -> None:
    """Print how far a sweep is: the best trials so far, and those that run."""
    run_stage("sweep_tools.status", SweepDirectoryConfig, options)


@sweep.command("show")
@options_of(SweepDirectoryConfig)
def sweep_show(**options: Any) -> None:
    """Print all trials of a sweep, and write sweep.html into it."""
    run_stage("sweep_tools.show", SweepDirectoryConfig, options)


@sweep.command("compare")
@options_of(SweepCompareConfig)
def sweep_compare(**options: Any) -> None:
    """Print the finished trials' scores by the value of each option, with 95 % intervals of their means."""
    run_stage("sweep_tools.compare", SweepCompareConfig, options)


@sweep.command("regret")
@options_of(SweepRegretConfig)
def sweep_regret(**options: Any) -> None:
    """Say how much a cheaper search loses against a whole grid, choosing on one half of the dev split and measuring
    on the other, many times."""
    run_stage("sweep_tools.regret", SweepRegretConfig, options)


@main.command()
@options_of(BenchmarkConfig)
def benchmark(**options: Any) -> None:
    """Measure speed on this machine. Contenders take turns; ratios are medians over rounds.

    \b
    train    a student from the cache: against the authors' way, and plain fine-tuning
    peers    against transformers' Trainer and TextBrewer with a live teacher (extra peers)
    cache    cache-teacher against the bare forward pass; writing against `datasets`
    reader   rows at random, warm and cold, against `datasets` and h5py; opening, memory
    startup  --help, and a first error line, against `python -c pass`; no model, lengths or device
    growth   seconds and bytes as examples, layers, depth and readers grow
    all      all of these, in about 25 minutes on two cores
    sweep    twelve trials of a sweep against as many trainings with a live teacher

    Each prints a table and writes benchmark-WHAT.json. reader writes up to 11 GB into data/ of the current directory
    if there is one, else into TMPDIR; the others write into TMPDIR.
    """
    run_stage("benchmark", BenchmarkConfig, options)


@main.group()
def cache() -> None:
    """Look into caches, check, repair, convert and share them.

    A cache is a directory, or a URL where one was published: s3://…, gs://…, hf://datasets/…, file:///….
    """


@cache.command("ls")
@options_of(CacheLsConfig)
def cache_ls(**options: Any) -> None:
    """List caches: identity, task, teacher, splits, layers, bytes, age."""
    run_stage("cache_tools.ls", CacheLsConfig, options)


@cache.command("info")
@options_of(CacheInfoConfig)
def cache_info(**options: Any) -> None:
    """Say what a cache holds, and what each of its layers has to teach.

    For each layer: how much its normalised [CLS] vectors vary about their mean (0: all alike, 1: no common
    direction), and the score on the dev split of a linear probe trained on them.
    """
    run_stage("cache_tools.info", CacheInfoConfig, options)


@cache.command("verify")
@options_of(CacheVerifyConfig)
def cache_verify(**options: Any) -> None:
    """Check every byte of a cache: digests, schema, rows, finite values. Damage ends with exit code 2.

    With --repair, damaged files are replaced, and no others: from another copy (--from), or computed again by the
    teacher in the cache.
    """
    run_stage("cache_tools.verify", CacheVerifyConfig, options)


@cache.command("diff")
@options_of(CacheDiffConfig)
def cache_diff(**options: Any) -> None:
    """Compare two caches: field by field, then rows, then numbers."""
    run_stage("cache_tools.diff", CacheDiffConfig, options)


@cache.command("push")
@options_of(CachePushConfig)
def cache_push(**options: Any) -> None:
    """Publish a cache at a URL. Only what is not there yet is sent; what is published does not change."""
    run_stage("cache_tools.push", CachePushConfig, options)


@cache.command("pull")
@options_of(CachePullConfig)
def cache_pull(**options: Any) -> None:
    """Copy a published cache into a directory. Only what is missing is fetched, and every byte is checked."""
    run_stage("cache_tools.pull", CachePullConfig, options)


@cache.command("convert")
@options_of(CacheConvertConfig)
def cache_convert(**options: Any) -> None:
    """Write a copy in another container, or a narrower one, without running the teacher."""
    run_stage("cache_tools.convert", CacheConvertConfig, options)


@cache.command("gc")
@options_of(CacheGcConfig)
def cache_gc(**options: Any) -> None:
    """Remove what dead writers left, and shards that the manifest does not name. Look first with --dry-run.

    Files of other kinds are listed and kept.
    """
    run_stage("cache_tools.gc", CacheGcConfig, options)


if __name__ == "__main__":
    main()
