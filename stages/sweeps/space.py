"""What is searched: options of train-student, each with one value, some values, or a range."""

import itertools
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from pipeline.errors import BadOption, one_line
from pipeline.settings import value_type
from stages.configs import TrainStudentConfig

PAPER = "paper"
# Sun et al. 2019, section 4.2: the values that they search.
GRID: Mapping[str, tuple[Any, ...]] = {
    "temperature": (5.0, 10.0, 20.0),
    "alpha": (0.2, 0.5, 0.7),
    "lr": (5e-5, 2e-5, 1e-5),
    "beta": (10.0, 100.0, 500.0, 1000.0),
}
NOT_SEARCHED = ("out", "resume", "expect_identity", "store", "store_bytes")  # the sweep's own affair
MOST_SETTINGS = 100_000
_ANY = TrainStudentConfig(cache="")


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included; drawn on a logarithmic scale if `log`; whole if `whole`."""

    low: float
    high: float
    log: bool = False
    whole: bool = False


@dataclass(frozen=True)
class Space:
    """Options of train-student: constants, choices (in the order in which they were written), and ranges."""

    constants: Mapping[str, Any] = field(default_factory=dict)
    choices: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    ranges: Mapping[str, Range] = field(default_factory=dict)

    def settings(self) -> Iterator[dict[str, Any]]:
        """Every combination of the choices, with the constants. Raises `BadOption` for more than 100,000."""
        count = 1
        for values in self.choices.values():
            count *= len(values)
        if count > MOST_SETTINGS:
            raise BadOption(f"the space has {count:,} settings. Use --strategy bayes, or lists of fewer values")
        for values in itertools.product(*self.choices.values()):
            yield {**self.constants, **dict(zip(self.choices, values, strict=True))}


def read_space(name: str, cache: str | None) -> Space:
    """`paper`, or a TOML file; `cache` is the one that all trials read unless the file names others.

    Raises `BadOption` for keys that train-student does not have and for values that it would refuse.
    """
    values: dict[str, Any] = dict(GRID) if name == PAPER else _read(Path(name))
    if cache is not None:
        if "cache" in values:
            raise BadOption(f"{name} names caches of its own. Leave out --cache, or the line in the file")
        values = {"cache": cache, **values}
    if "cache" not in values:
        raise BadOption(f"no cache to train from: give --cache DIR, or a line cache = … in {name}")
    known = [f.name for f in fields(TrainStudentConfig) if f.name not in NOT_SEARCHED]
    constants, choices, ranges = {}, {}, {}
    for key, value in values.items():
        if key not in known:
            hint = "is set by the sweep itself" if key in NOT_SEARCHED else "is no option of train-student"
            raise BadOption(f"{name}: {key} {hint}. Options that can be searched: {', '.join(known)}")
        if isinstance(value, dict):
            ranges[key] = _range(name, key, value)
        elif isinstance(value, list | tuple):
            distinct = dict.fromkeys(_value(name, key, one) for one in value)
            if not distinct:
                raise BadOption(f"{name}: {key} has an empty list. Name a value, or leave the line out")
            if len(distinct) == 1:
                constants[key] = next(iter(distinct))
            else:
                choices[key] = tuple(distinct)
        else:
            constants[key] = _value(name, key, value)
    return Space(constants, choices, ranges)


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadOption(f"--space {path} is no file. Use --space paper, or name a TOML file") from None
    except (OSError, ValueError) as error:
        raise BadOption(f"--space {path} cannot be read ({one_line(error)})") from error


def _value(name: str, key: str, value: Any) -> Any:
    """One value of an option, in its type. Raises `BadOption` for one that train-student would refuse."""
    kind = value_type(TrainStudentConfig, key)
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind:
        noun = {int: "a whole number", float: "a number", str: "text in quotes", bool: "true or false"}[kind]
        raise BadOption(f"{name}: {key} takes {noun}, not {value!r}")
    try:
        replace(_ANY, **dict[str, Any]({key: value}))
    except BadOption as error:
        raise BadOption(f"{name}: {error}") from error
    return value


def _range(name: str, key: str, value: Mapping[str, Any]) -> Range:
    kind, found = value_type(TrainStudentConfig, key), dict(value)
    low, high, log = found.pop("low", None), found.pop("high", None), found.pop("log", False)
    numbers = all(type(one) in (int, float) for one in (low, high))
    if found or not numbers or not isinstance(log, bool) or kind not in (int, float):
        raise BadOption(
            f"{name}: {key} = {dict(value)} is no range. Write {key} = {{low = 1e-5, high = 1e-4, log = true}}, for an "
            "option that is a number"
        )
    low, high = _value(name, key, kind(low)), _value(name, key, kind(high))
    if not low < high or (log and low <= 0):
        raise BadOption(f"{name}: the range of {key} must rise{', from above 0 where log = true' if log else ''}")
    return Range(low, high, log, kind is int)
