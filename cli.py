"""Command line: options in, one stage called, result out. torch and transformers are imported inside a command."""

import pipeline.system.startup  # before every other import

# isort: split
import dataclasses
import importlib
import inspect
import json
import signal
import sys
from collections.abc import Callable
from typing import Any, NoReturn

import click
import cloup

import pipeline.system.openmp  # noqa: F401  # before torch
from pipeline.config.benchmark import BenchmarkConfig
from pipeline.config.cache import (
    CacheConvertConfig,
    CacheDiffConfig,
    CacheExportConfig,
    CacheGcConfig,
    CacheInfoConfig,
    CacheLsConfig,
    CachePullConfig,
    CachePushConfig,
    CacheVerifyConfig,
)
from pipeline.config.distill import DistillConfig
from pipeline.config.doctor import DoctorConfig
from pipeline.config.evaluation import EvaluateConfig
from pipeline.config.export import ExportConfig
from pipeline.config.options import GROUPS, Options, option_name, options_in_order, value_type, values_of
from pipeline.config.predict import PredictConfig
from pipeline.config.report import ReportConfig
from pipeline.config.sweep import SweepCompareConfig, SweepConfig, SweepRegretConfig, SweepShowConfig, SweepStatusConfig
from pipeline.config.training import (
    CacheTeacherConfig,
    FinetuneTeacherConfig,
    QuickstartConfig,
    TrainStudentConfig,
)
from pipeline.errors import BadOption, DistillError, Interrupted
from pipeline.system.interrupts import StopRequest, signals_raise
from pipeline.system.launcher import ignore_absent_launcher, is_main_process
from pipeline.system.system_errors import advice

SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class Number(click.ParamType):
    """A whole number or a fraction; errors use the words of pipeline/config/options.py."""

    def __init__(self, kind: type):
        self.kind = kind
        self.name = "int" if kind is int else "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the value as a number. Raises a usage error for text that is not one."""
        try:
            return self.kind(value)
        except (TypeError, ValueError):
            noun = "a whole number" if self.kind is int else "a number"
            self.fail(f"{value!r} is not {noun}.", param, ctx)


class OneOf(click.Choice):
    """Choices that are named in one line if an argument is missing."""

    def get_missing_message(self, param: click.Parameter, ctx: click.Context | None) -> str:
        """Return the line that names the choices."""
        return f"Choose from {', '.join(map(str, self.choices))}"


def options_of(config: type[Options]) -> Callable[[Callable], Callable]:
    """Return a decorator that adds a click option, in its help group, for each field of a stage's configuration."""

    def position(field: dataclasses.Field) -> int:
        group = field.metadata["group"]
        return GROUPS.index(group) if group else len(GROUPS)

    def decorate(function: Callable) -> Callable:
        groups = {name: cloup.OptionGroup(name) for name in GROUPS}  # new ones: cloup keeps a command's options there
        for field in reversed(sorted(options_in_order(config), key=position)):
            if field.metadata["positional"]:
                function = _argument(field)(function)
            else:
                function = _option(config, field, groups.get(field.metadata["group"]))(function)
        return function

    return decorate


def _argument(field: dataclasses.Field) -> Callable[[Callable], Callable]:
    meta = field.metadata
    declared: dict[str, Any] = {"metavar": meta["metavar"], "required": True, "help": meta["help"]}
    if field.default is not dataclasses.MISSING:
        declared |= {"required": False, "default": field.default}  # a default of None would count as one
    if meta["choices"]:
        declared["type"] = OneOf(meta["choices"])
    if meta["repeatable"]:
        metavar = meta["metavar"] if declared["required"] else f"[{meta['metavar']}]"
        declared |= {"nargs": -1, "metavar": f"{metavar}..."}
        declared.pop("default", None)  # none are an empty tuple
    return cloup.argument(field.name, **declared)


def _option(config: type, field: dataclasses.Field, group: cloup.OptionGroup | None) -> Callable[[Callable], Callable]:
    kind, meta = value_type(config, field.name), field.metadata
    required = field.default is dataclasses.MISSING
    declared: dict[str, Any] = {"help": meta["help"], "group": group}
    if kind is bool:
        return cloup.option(option_name(field.name), field.name, is_flag=True, **declared)
    declared["required"] = required
    if not required:
        declared |= {"default": field.default, "show_default": field.default is not None}
    if meta["choices"]:
        declared["type"] = click.Choice(meta["choices"])
    else:
        declared |= {"type": Number(kind) if kind in (int, float) else kind, "metavar": meta["metavar"]}
        declared["multiple"] = meta["repeatable"]
    return cloup.option(option_name(field.name), field.name, **declared)


def run_stage(name: str, config: type[Options], options: dict[str, Any]) -> None:
    """Call stages.NAME.run(config) and print its result as the last line of stdout.

    A `DistillError` and a system that refuses end with one line and exit code 2. Ctrl-C and SIGTERM leave every
    with-block first, then end with one line and exit code 128 + signal.
    """
    ignore_absent_launcher()
    stop = StopRequest()
    try:
        checked = config(**options)
        check_names(checked)
        stage = importlib.import_module(f"stages.{name}")
        with signals_raise(stop):
            if options.get("from_run") is not None:
                checked = stage.config_of_run(options["from_run"], **_given(options))
            result = stage.run(checked)
    except BaseException as error:
        if stop.number or isinstance(error, KeyboardInterrupt):  # whatever a library has made of it
            cause = " by SIGTERM" if stop.number == signal.SIGTERM else ""
            _exit(f"stopped{cause}. {config.after_stop}", 128 + (stop.number or signal.SIGINT))
        if isinstance(error, Interrupted):
            _exit(str(error), error.exit_code)
        text = str(error) if isinstance(error, DistillError) else advice(error)
        if text is None:
            raise
        raise click.UsageError(text, click.get_current_context()) from error
    if is_main_process():
        click.echo(json.dumps(dataclasses.asdict(result), allow_nan=False), err=checked.result_on_stderr)


def _given(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options that were typed, of a command that takes the others from an earlier run."""
    source = click.get_current_context().get_parameter_source
    return {
        name: value
        for name, value in options.items()
        if name != "from_run" and source(name) is not click.core.ParameterSource.DEFAULT
    }


def check_names(config: Options) -> None:
    """Raise `BadOption` for a path whose bytes are not UTF-8: tokenizers and JSON files could not name it."""
    for field in dataclasses.fields(config):
        for value in values_of(getattr(config, field.name)):
            if isinstance(value, str) and any("\ud800" <= letter <= "\udfff" for letter in value):
                name = field.metadata["metavar"] if field.metadata["positional"] else option_name(field.name)
                raise BadOption(
                    f"{name} {value!a}: its name is not UTF-8. Rename the directory, or go into it and name the path "
                    "from there"
                )


def _exit(text: str, code: int) -> NoReturn:
    click.echo(f"Error: {text}", err=True)
    sys.exit(code)


@cloup.group(context_settings=SETTINGS)
@cloup.version_option(package_name="pkd-distill")
def main() -> None:
    """Distil BERT-like encoders offline: cache a teacher once, train any number of students from the cache."""


def _help(config: type[Options]) -> dict[str, Any]:
    """Return the help of a command, its configuration's docstring: indented paragraphs keep their lines."""
    paragraphs = inspect.cleandoc(config.__doc__ or "").split("\n\n")
    text = "\n\n".join("\b\n" + part if part.startswith(" ") else part for part in paragraphs)
    first = " ".join(paragraphs[0].split())
    return {"help": text, "short_help": first.partition(". ")[0].rstrip(".") + "."}


def command(
    group: cloup.Group, section: cloup.Section, stage: str, config: type[Options], name: str | None = None
) -> None:
    """Add the command of a stage; its options and its help are those of its configuration."""
    name = name or stage.rpartition(".")[2].replace("_", "-")

    @options_of(config)
    def call(**options: Any) -> None:
        run_stage(stage, config, options)

    group.add_command(cloup.command(name, **_help(config))(call), section=section)


@cloup.group(invoke_without_command=True, **_help(SweepConfig))
@options_of(SweepConfig)
@click.pass_context
def sweep(context: click.Context, **options: Any) -> None:
    """Run a sweep unless one of its commands is called."""
    if context.invoked_subcommand is None:
        run_stage("sweep.run", SweepConfig, options)


@cloup.group()
def cache() -> None:
    """Look into caches, check, repair, convert and share them.

    A cache is a directory, or a URL if it was published: s3://…, gs://…, hf://datasets/…, file:///….
    """


WAY = cloup.Section("Distillation, in one command")
STEPS, TOOLS = cloup.Section("Distillation, step by step"), cloup.Section("Tools")
SWEEPS, CACHES = cloup.Section("Commands"), cloup.Section("Commands")

command(main, WAY, "distill.run", DistillConfig, "distill")
command(main, WAY, "quickstart", QuickstartConfig)
command(main, STEPS, "finetune_teacher", FinetuneTeacherConfig)
command(main, STEPS, "cache_teacher", CacheTeacherConfig)
command(main, STEPS, "train_student", TrainStudentConfig)
command(main, STEPS, "evaluate", EvaluateConfig)
command(main, STEPS, "predict", PredictConfig)
command(main, STEPS, "export", ExportConfig)
main.add_command(sweep, section=STEPS)
command(main, STEPS, "report.run", ReportConfig, "report")
main.add_command(cache, section=TOOLS)
command(main, TOOLS, "benchmarks.run", BenchmarkConfig, "benchmark")
command(main, TOOLS, "doctor.run", DoctorConfig, "doctor")
command(sweep, SWEEPS, "sweep.status", SweepStatusConfig)
command(sweep, SWEEPS, "sweep.show", SweepShowConfig)
command(sweep, SWEEPS, "sweep.compare", SweepCompareConfig)
command(sweep, SWEEPS, "sweep.regret", SweepRegretConfig)
command(cache, CACHES, "cache.ls", CacheLsConfig)
command(cache, CACHES, "cache.info", CacheInfoConfig)
command(cache, CACHES, "cache.verify", CacheVerifyConfig)
command(cache, CACHES, "cache.diff", CacheDiffConfig)
command(cache, CACHES, "cache.push", CachePushConfig)
command(cache, CACHES, "cache.pull", CachePullConfig)
command(cache, CACHES, "cache.convert", CacheConvertConfig)
command(cache, CACHES, "cache.export", CacheExportConfig)
command(cache, CACHES, "cache.gc", CacheGcConfig)


if __name__ == "__main__":
    main()
