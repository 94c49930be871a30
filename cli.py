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

from pipeline.config.benchmark import BenchmarkConfig
from pipeline.config.cache import (
    CacheConvertConfig,
    CacheDiffConfig,
    CacheGcConfig,
    CacheInfoConfig,
    CacheLsConfig,
    CachePullConfig,
    CachePushConfig,
    CacheVerifyConfig,
)
from pipeline.config.options import option_name, value_type
from pipeline.config.sweep import SweepCompareConfig, SweepConfig, SweepRegretConfig, SweepShowConfig, SweepStatusConfig
from pipeline.config.training import (
    CacheTeacherConfig,
    EvaluateConfig,
    FinetuneTeacherConfig,
    QuickstartConfig,
    TrainStudentConfig,
)
from pipeline.errors import DistillError, Interrupted

DISK_REFUSES = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.ENAMETOOLONG,
    errno.ELOOP,
    errno.EISDIR,
)
KEEPS_WHAT_IS_DONE = (
    *("cache_teacher", "quickstart", "sweep.run"),
    *("cache.convert", "cache.pull", "cache.push"),
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


def command(group: click.Group, name: str, stage: str, config: type) -> None:
    """Add a command that runs a stage; its options and its help are those of its configuration."""

    @options_of(config)
    def call(**options: Any) -> None:
        run_stage(stage, config, options)

    group.command(name, help=config.__doc__)(call)


@main.group(invoke_without_command=True, help=SweepConfig.__doc__)
@options_of(SweepConfig)
@click.pass_context
def sweep(context: click.Context, **options: Any) -> None:
    if context.invoked_subcommand is None:
        run_stage("sweep.run", SweepConfig, options)


@main.group()
def cache() -> None:
    """Look into caches, check, repair, convert and share them.

    A cache is a directory, or a URL where one was published: s3://…, gs://…, hf://datasets/…, file:///….
    """


command(main, "finetune-teacher", "finetune_teacher", FinetuneTeacherConfig)
command(main, "cache-teacher", "cache_teacher", CacheTeacherConfig)
command(main, "train-student", "train_student", TrainStudentConfig)
command(main, "evaluate", "evaluate", EvaluateConfig)
command(main, "quickstart", "quickstart", QuickstartConfig)
command(main, "benchmark", "benchmarks.run", BenchmarkConfig)
command(sweep, "status", "sweep.status", SweepStatusConfig)
command(sweep, "show", "sweep.show", SweepShowConfig)
command(sweep, "compare", "sweep.compare", SweepCompareConfig)
command(sweep, "regret", "sweep.regret", SweepRegretConfig)
command(cache, "ls", "cache.ls", CacheLsConfig)
command(cache, "info", "cache.info", CacheInfoConfig)
command(cache, "verify", "cache.verify", CacheVerifyConfig)
command(cache, "diff", "cache.diff", CacheDiffConfig)
command(cache, "push", "cache.push", CachePushConfig)
command(cache, "pull", "cache.pull", CachePullConfig)
command(cache, "convert", "cache.convert", CacheConvertConfig)
command(cache, "gc", "cache.gc", CacheGcConfig)


if __name__ == "__main__":
    main()
