"""Declaration of options: each field of a frozen dataclass states its meaning, range, choices and help group once.

The command line, its help, docs/commands.md, the checks of values and run.json are all derived from these fields.
"""

import dataclasses
import math
import types
from collections.abc import Callable
from typing import Any, ClassVar, Literal, get_args, get_type_hints

from pipeline.errors import BadOption, shell_line

REQUIRED: Any = object()
LOCAL = ("DIR", "FILE", "OUT", "RUN", "RUN|EXPORT")  # metavars of options that are paths of this machine
PLACES = (*LOCAL, "DIR|URL", "FILE|URL", "FILE|URL|-", "NAME[:CONFIG]")  # and of those that can be

START_AGAIN = "Run the same command to start again"
GO_ON = "Run the same command to go on: what is finished is kept"
RESUME = "Run the same command with --resume to go on"

# Groups of options, in the order in which help shows them. An option without a group comes last.
Group = Literal[
    "Input",
    "Rows",
    "Model",
    "Teacher",
    "Cache",
    "Distillation",
    "Search",
    "Check",
    "Repair",
    "Training",
    "Evaluation",
    "Output",
    "Compute",
    "Seeds",
    "Limits",
    "Downloads",
]
GROUPS: tuple[str, ...] = get_args(Group)


def option(
    default: Any = REQUIRED,
    *,
    help: str,
    group: Group | None = None,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    choices: tuple[str, ...] = (),
    metavar: str | None = None,
    affects_result: bool = True,
    positional: bool = False,
    omit_default: bool = False,
    alike_in_pack: bool = False,
    default_from: Callable[[Any], Any] | None = None,
    repeatable: bool = False,
) -> Any:
    """Return a dataclass field that declares an option; without a default it is required.

    `help` states unit and meaning, `group` the heading above it. `low` and `high` are inclusive bounds, `above` an
    exclusive one. `affects_result=False` marks an option that cannot change what is computed (where to write, how
    often to log), `positional` an argument. `omit_default` marks an option added after version 0.1: while it has its
    default value, `identity_options()` leaves it out, so that identities from before it existed stay valid.
    `alike_in_pack` marks an option that students of one pack have in common. `repeatable` marks one that may be given
    several times: its value is a string, or a tuple of several. `default_from` returns the value of an option that is
    None, from the other options of the configuration.
    """
    metadata: dict[str, Any] = dict(help=help, group=group, choices=choices, metavar=metavar, default_from=default_from)
    metadata |= dict(low=low, high=high, above=above)
    metadata |= dict(affects_result=affects_result, positional=positional)
    metadata |= dict(omit_default=omit_default, alike_in_pack=alike_in_pack, repeatable=repeatable)
    if omit_default and default is REQUIRED:
        raise ValueError("omit_default needs a default")
    if default is REQUIRED:
        return dataclasses.field(metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def marked(config: type, mark: str) -> tuple[str, ...]:
    """Return the names of the options of a configuration that are declared with this mark, as `alike_in_pack`."""
    return tuple(field.name for field in dataclasses.fields(config) if field.metadata.get(mark))


def option_name(field_name: str) -> str:
    """Return the option of a field as typed: `--max-steps` for `max_steps`, `--from` for `from_`."""
    return "--" + field_name.rstrip("_").replace("_", "-")  # `from_` is a field because `from` cannot be


def options_in_order(config: type) -> list[dataclasses.Field]:
    """Return the fields of a configuration: the command's own, then those that it shares with other commands."""
    own_names = config.__annotations__
    return sorted(dataclasses.fields(config), key=lambda field: field.name not in own_names)


def value_type(config: type, field_name: str) -> type:
    """Return the field's type without `| None`."""
    hint = get_type_hints(config)[field_name]
    if isinstance(hint, types.UnionType):
        hint = next(part for part in get_args(hint) if part is not type(None))
    return hint


def values_of(value: Any) -> tuple[Any, ...]:
    """Return the values of an option: none, one, or those of a repeatable option."""
    if value is None:
        return ()
    return tuple(value) if isinstance(value, list | tuple) else (value,)


def value_text(value: Any) -> Any:
    """Return the value of an option for people: several values as one text."""
    return " + ".join(map(str, value)) if isinstance(value, tuple) else value


def default_of(config: type, field_name: str) -> Any:
    """Return an option's default. Raises KeyError for a name that is not an option, or one that is required."""
    defaults = {f.name: f.default for f in dataclasses.fields(config) if f.default is not dataclasses.MISSING}
    return defaults[field_name]


def is_default(config: Any, field_name: str) -> bool:
    """Return whether an option of a configuration has its default, which may follow from the other options."""
    field = {field.name: field for field in dataclasses.fields(config)}[field_name]
    return bool(getattr(config, field_name) == _default(field, config))


def _default(field: dataclasses.Field, config: Any) -> Any:
    """Return the default of a field, which may follow from the other options of the configuration."""
    of_config = field.metadata.get("default_from")
    return of_config(config) if of_config else field.default


def check_value(config: type, field_name: str, value: Any) -> None:
    """Raise `BadOption` unless the option accepts the value (None and strings without choices always pass).

    Raises KeyError for a name that is not an option.
    """
    _check({field.name: field for field in dataclasses.fields(config)}[field_name], value)


def _check(field: dataclasses.Field, value: Any) -> None:
    """Raise `BadOption` unless the field accepts the value."""
    if isinstance(value, str) and "://" in value and field.metadata.get("metavar") in LOCAL:
        raise BadOption(
            f"{value} is a URL, and a local path belongs there. Caches go to a URL with cache push, and come "
            "from one with cache pull"
        )
    metavar = field.metadata.get("metavar") or ""
    is_place = field.metadata.get("repeatable") or metavar in PLACES
    if value == "" and is_place and field.default != "":  # of a variable of the shell that is not set, say
        advice = "Name a directory" if metavar.startswith(("DIR", "RUN")) else "Name a file"
        advice += "" if field.default is dataclasses.MISSING else ", or leave it out"
        raise BadOption(f"{_shown_name(field)} is empty. {advice}")
    if value is None or not field.metadata or _is_allowed(value, field.metadata):
        return
    if field.default is dataclasses.MISSING:
        example = ""
    elif field.default is None:
        example = ". Leave it out for the default"
    else:
        example = f". Try {option_name(field.name)} {field.default}"
    raise BadOption(f"{_shown_name(field)} must be {_allowed(field.metadata)}, not {value}{example}")


def _shown_name(field: dataclasses.Field) -> str:
    """Return an option as help shows it: --name, or the word of an argument."""
    return str(field.metadata["metavar"]) if field.metadata["positional"] else option_name(field.name)


def _allowed(metadata: Any) -> str:
    """Describe the values that an option accepts."""
    if metadata["choices"]:
        return "one of " + ", ".join(metadata["choices"])
    low, high, above = metadata["low"], metadata["high"], metadata["above"]
    if high is not None:
        return f"a number above {above:g}, at most {high:g}" if low is None else f"a number from {low} to {high}"
    if above is not None:
        return f"a number above {above:g}"
    return f"{low:g} or more" if low is not None else "a finite number"


def _is_allowed(value: Any, metadata: Any) -> bool:
    """Return whether a value is one of the choices, or a finite number within the bounds."""
    if metadata["choices"]:
        return value in metadata["choices"]
    if isinstance(value, bool) or not isinstance(value, int | float):
        return True
    low, high, above = metadata["low"], metadata["high"], metadata["above"]
    return (
        math.isfinite(value)
        and (low is None or value >= low)
        and (high is None or value <= high)
        and (above is None or value > above)
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """The base of every command's configuration, which checks its values when it is created.

    Raises `BadOption` for a value outside its field's range, NaN included. The docstring of a subclass is the help
    of its command; `after_stop` is the advice after Ctrl-C or SIGTERM.
    """

    after_stop: ClassVar[str] = START_AGAIN

    @property
    def result_on_stderr(self) -> bool:
        """Whether the result is the last line of stderr, because stdout is for data."""
        return False

    def __post_init__(self) -> None:
        """Check the value of every field; a list of values becomes a tuple, None or the only one."""
        for field in dataclasses.fields(self):
            if field.metadata.get("repeatable"):
                values = values_of(getattr(self, field.name))
                object.__setattr__(self, field.name, values if len(values) > 1 else next(iter(values), None))
            if field.metadata.get("default_from") and getattr(self, field.name) is None:
                object.__setattr__(self, field.name, _default(field, self))
            for value in values_of(getattr(self, field.name)):
                _check(field, value)

    def identity_options(self) -> dict[str, Any]:
        """Return the options that decide what is computed, as JSON values.

        An option with `omit_default` is not a key of it while it has its default value.
        """
        values = {}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            omitted = field.metadata.get("omit_default", False) and value == field.default
            if field.metadata.get("affects_result", True) and not omitted:
                values[field.name] = value
        return values


def _as_typed(value: Any) -> str:
    """Return the shortest text that reads back as the same value."""
    short = f"{value:g}" if isinstance(value, float) else str(value)
    return short if not isinstance(value, float) or float(short) == value else repr(value)


def command_line(command: str, config: Options) -> str:
    """Return the line to type for a configuration: arguments, then options; those at their defaults are left out."""
    arguments: list[str] = []
    options: list[str] = []
    for field in options_in_order(type(config)):
        value = getattr(config, field.name)
        if field.metadata["positional"]:
            arguments += values_of(value)
        elif value is True:
            options.append(option_name(field.name))
        elif value != _default(field, config):
            options += [word for each in values_of(value) for word in (option_name(field.name), _as_typed(each))]
    return shell_line(*command.split(), *arguments, *options)
