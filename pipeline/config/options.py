"""Options of a stage as one frozen dataclass: each field says its meaning, its range and its choices once.

The command line's options, the checks of their values and run.json are all read from these fields.
"""

import dataclasses
import math
import types
from typing import Any, get_args, get_type_hints

from pipeline.errors import BadOption, shell_line

REQUIRED: Any = object()
LOCAL = ("DIR", "FILE", "OUT", "RUN")  # metavars of options that are paths of this machine


def option(
    default: Any = REQUIRED,
    *,
    help: str,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    choices: tuple[str, ...] = (),
    metavar: str | None = None,
    affects_result: bool = True,
    positional: bool = False,
    alike_in_pack: bool = False,
    omit_default: bool = False,
) -> Any:
    """Return a dataclass field that declares an option.

    `low` and `high` are inclusive bounds, `above` an exclusive one. `affects_result=False` marks an option that cannot
    change what is computed (where to write, how often to log), `positional` an argument, `alike_in_pack` an option that
    students of one pack have in common. `omit_default` marks an option added after version 0.1: at its default it is
    left out of the identity of a run, so that runs made before it existed keep theirs.
    """
    metadata = dict(help=help, low=low, high=high, above=above, choices=choices, metavar=metavar)
    metadata |= dict(affects_result=affects_result, positional=positional)
    metadata |= dict(alike_in_pack=alike_in_pack, omit_default=omit_default)
    if default is REQUIRED:
        return dataclasses.field(metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def marked(config: type, mark: str) -> tuple[str, ...]:
    """Return the names of the options of a configuration that are declared with this mark, as `alike_in_pack`."""
    return tuple(field.name for field in dataclasses.fields(config) if field.metadata.get(mark))


def default_of(config: type, field_name: str) -> Any:
    """Return the default of an option."""
    return next(field.default for field in dataclasses.fields(config) if field.name == field_name)


def option_name(field_name: str) -> str:
    """Return the option of a field as it is typed."""
    return "--" + field_name.rstrip("_").replace("_", "-")  # `from_` is a field because `from` cannot be


def value_type(config: type, field_name: str) -> type:
    """The field's type without `| None`."""
    hint = get_type_hints(config)[field_name]
    if isinstance(hint, types.UnionType):
        hint = next(part for part in get_args(hint) if part is not type(None))
    return hint


def _allowed(metadata: Any) -> str:
    if metadata["choices"]:
        return "one of " + ", ".join(metadata["choices"])
    low, high, above = metadata["low"], metadata["high"], metadata["above"]
    if high is not None:
        return f"a number from {low} to {high}"
    if above is not None:
        return f"a number above {above:g}"
    return f"{low:g} or more" if low is not None else "a finite number"


def _is_allowed(value: Any, metadata: Any) -> bool:
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
    """What every stage's configuration inherits: its values are checked when it is made.

    Raises `BadOption` for a value outside its field's range, NaN included.
    """

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, str) and "://" in value and field.metadata.get("metavar") in LOCAL:
                raise BadOption(
                    f"{value} is a URL, and a local path belongs there. Caches go to a URL with cache push, and come "
                    "from one with cache pull"
                )
            if value is None or not field.metadata or _is_allowed(value, field.metadata):
                continue
            default = field.default
            example = f". Try {option_name(field.name)} {default}"
            if default is None:
                example = ". Leave it out for the default"
            elif default is dataclasses.MISSING:
                example = ""
            name = field.metadata["metavar"] if field.metadata["positional"] else option_name(field.name)
            raise BadOption(f"{name} must be {_allowed(field.metadata)}, not {value}{example}")

    def identity_options(self) -> dict[str, Any]:
        """Return the options that decide what is computed, as JSON values."""
        values = {}
        for field in dataclasses.fields(self):
            value, metadata = getattr(self, field.name), field.metadata
            omitted = metadata.get("omit_default") and value == field.default
            if metadata.get("affects_result", True) and not omitted:
                values[field.name] = value
        return values


def _typed(value: Any) -> str:
    """As short as reading it gives the same value."""
    short = f"{value:g}" if isinstance(value, float) else str(value)
    return short if not isinstance(value, float) or float(short) == value else repr(value)


def command_line(command: str, config: Options) -> str:
    """The line to type for a configuration: arguments, then its own options; those at their defaults left out."""
    arguments: list[str] = []
    options: list[str] = []
    own = type(config).__annotations__
    for field in sorted(dataclasses.fields(config), key=lambda field: field.name not in own):
        value = getattr(config, field.name)
        if field.metadata["positional"]:
            arguments.append(value)
        elif value is True:
            options.append(option_name(field.name))
        elif value != field.default:
            options += [option_name(field.name), _typed(value)]
    return shell_line(*command.split(), *arguments, *options)
