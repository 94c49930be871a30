"""A search space: options of train-student, each with one value, some values, or a range."""

import itertools
import math
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from pipeline.config.options import check_value, marked, value_text, value_type
from pipeline.config.training import TrainStudentConfig
from pipeline.errors import BadOption, one_line

PAPER = "paper"
# Sun et al. 2019, section 4.2: the values that they search.
GRID: Mapping[str, tuple[Any, ...]] = {
    "temperature": (5.0, 10.0, 20.0),
    "alpha": (0.2, 0.5, 0.7),
    "lr": (5e-5, 2e-5, 1e-5),
    "beta": (10.0, 100.0, 500.0, 1000.0),
}
NOT_SEARCHED = ("out", "from_run", "resume", "expect_identity", "store", "store_bytes", "track", "track_group")
EITHER = "either"
MOST_SETTINGS = 100_000


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included; drawn on a logarithmic scale if `log`."""

    low: float
    high: float
    log: bool = False
    integer: bool = False

    def as_json(self) -> dict[str, Any]:
        """Return the range as sweep.json holds it."""
        return {"low": self.low, "high": self.high, "log": self.log, "whole": self.integer}


@dataclass(frozen=True)
class Space:
    """Options of train-student: constants, choices (in the order of the file), ranges, and alternative blocks.

    Each setting has the choices of one block of `either`.
    """

    constants: Mapping[str, Any] = field(default_factory=dict)
    choices: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    ranges: Mapping[str, Range] = field(default_factory=dict)
    either: tuple[Mapping[str, tuple[Any, ...]], ...] = ()

    def settings(self) -> Iterator[dict[str, Any]]:
        """Yield every combination of the choices, with each block, and the constants.

        Raises `BadOption` for more than 100,000.
        """
        blocks = self.either or ({},)
        count = sum(math.prod(map(len, (*self.choices.values(), *block.values()))) for block in blocks)
        if count > MOST_SETTINGS:
            raise BadOption(f"the space has {count:,} settings. Use --strategy bayes, or lists of fewer values")
        for common in _combinations(self.choices):
            for block in blocks:
                for alternative in _combinations(block):
                    yield {**self.constants, **common, **alternative}

    def values(self, proposed: Mapping[str, Any]) -> dict[str, Any]:
        """Return the constants, and the values that are shown as those of a proposal."""
        by_text = {name: {value_text(value): value for value in values} for name, values in self.choices.items()}
        return {**self.constants, **{name: by_text.get(name, {}).get(v, v) for name, v in proposed.items()}}

    def as_json(self) -> dict[str, Any]:
        """Return the space as sweep.json holds it; `either` is left out if there are no alternatives."""
        blocks = [{name: list(values) for name, values in block.items()} for block in self.either]
        return {
            "constants": dict(self.constants),
            "choices": {name: list(values) for name, values in self.choices.items()},
            "ranges": {name: limits.as_json() for name, limits in self.ranges.items()},
            **({"either": blocks} if blocks else {}),
        }


def _combinations(choices: Mapping[str, tuple[Any, ...]]) -> Iterator[dict[str, Any]]:
    for values in itertools.product(*choices.values()):
        yield dict(zip(choices, values, strict=True))


def read_space(name: str, cache: str | tuple[str, ...] | None) -> Space:
    """Return the space of the paper, or of a TOML file; `cache` is what all trials read unless the file names others.

    Raises `BadOption` for keys that train-student does not have and for values that it would refuse.
    """
    values: dict[str, Any] = dict(GRID) if name == PAPER else _read(Path(name))
    blocks = values.pop(EITHER, [])
    if not isinstance(blocks, list) or not all(isinstance(block, dict) for block in blocks):
        raise BadOption(f"{name}: write each alternative under a line [[{EITHER}]] of its own")
    named = "cache" in values or (bool(blocks) and all("cache" in block for block in blocks))
    if cache is not None:
        if named:
            raise BadOption(f"{name} names caches of its own. Leave out --cache, or the line in the file")
        values = {"cache": [cache], **values}
    elif not named:
        hint = "" if name == PAPER else f", or a line cache = … in {name}"
        raise BadOption(f"no cache to train from: give --cache DIR{hint}")
    outside = _options(name, values)
    either = tuple(_block(name, block, values) for block in blocks)
    constants = {key: limits[0] for key, limits in outside.items() if isinstance(limits, tuple) and len(limits) == 1}
    choices = {key: limits for key, limits in outside.items() if isinstance(limits, tuple) and len(limits) > 1}
    return Space(
        constants, choices, {key: limits for key, limits in outside.items() if isinstance(limits, Range)}, either
    )


def _options(name: str, values: Mapping[str, Any]) -> dict[str, tuple[Any, ...] | Range]:
    """Return the distinct values of each option, or its range."""
    known = [f.name for f in fields(TrainStudentConfig) if f.name not in NOT_SEARCHED]
    options: dict[str, tuple[Any, ...] | Range] = {}
    for key, value in values.items():
        if key not in known:
            hint = "is not searched" if key in NOT_SEARCHED else "is not an option of train-student"
            raise BadOption(f"{name}: {key} {hint}. Options that can be searched: {', '.join(known)}")
        if isinstance(value, dict):
            options[key] = _range(name, key, value)
            continue
        listed = value if isinstance(value, list | tuple) else [value]
        options[key] = tuple(dict.fromkeys(_value(name, key, item) for item in listed))
        if not listed:
            raise BadOption(f"{name}: {key} has an empty list. Name a value, or leave the line out")
    return options


def _block(name: str, block: Mapping[str, Any], outside: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
    """Return one alternative. Raises `BadOption` for ranges, and for an option that is set outside of it too."""
    choices: dict[str, tuple[Any, ...]] = {}
    for key, values in _options(name, block).items():
        if isinstance(values, Range):
            raise BadOption(f"{name}: the range of {key} is under [[{EITHER}]]. Write it before that, or list values")
        if key in outside:
            raise BadOption(f"{name}: {key} is set under [[{EITHER}]] and before it too. Leave one of them out")
        choices[key] = values
    return choices


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise BadOption(f"--space {path} is not a file. Use --space paper, or name a TOML file") from None
    except (OSError, ValueError) as error:
        raise BadOption(f"--space {path} cannot be read ({one_line(error)})") from error


def _value(name: str, key: str, value: Any) -> Any:
    """Return one value of an option, in its type. Raises `BadOption` for one that train-student would refuse."""
    kind = value_type(TrainStudentConfig, key)
    if key in marked(TrainStudentConfig, "repeatable") and isinstance(value, list | tuple) and len(value) > 1:
        return tuple(_value(name, key, item) for item in value)
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind:
        noun = {int: "a whole number", float: "a number", str: "text in quotes", bool: "true or false"}[kind]
        raise BadOption(f"{name}: {key} takes {noun}, not {value!r}")
    try:
        check_value(TrainStudentConfig, key, value)
    except BadOption as error:
        raise BadOption(f"{name}: {error}") from error
    return value


def _range(name: str, key: str, value: Mapping[str, Any]) -> Range:
    kind, rest = value_type(TrainStudentConfig, key), dict(value)
    low, high, log = rest.pop("low", None), rest.pop("high", None), rest.pop("log", False)
    numbers = all(type(end) is int or (type(end) is kind is float and math.isfinite(end)) for end in (low, high))
    if rest or not numbers or not isinstance(log, bool) or kind not in (int, float):
        raise BadOption(
            f"{name}: {key} = {dict(value)} is not a range. Write {key} = {{low = 1e-5, high = 1e-4, log = true}}, for "
            "an option that is a number"
        )
    low, high = _value(name, key, kind(low)), _value(name, key, kind(high))
    if not low < high or (log and low <= 0):
        raise BadOption(f"{name}: the range of {key} must rise{', from above 0 where log = true' if log else ''}")
    return Range(low, high, log, kind is int)
