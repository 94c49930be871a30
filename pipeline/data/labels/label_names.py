"""Names of classes: which of them mean the same, and how options of the command line write them."""

import json
import re
import shlex
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

from pipeline.data.tables.cells import spelled
from pipeline.errors import BadOption, one_line

SHOWN = 40  # characters of a label in a message
LONGEST = 200  # characters of a label that is a name, not a text
MOST_RENAMES = 50  # in a line to paste
_WHOLE = re.compile(r"([+-]?[0-9]{1,15})(\.0*)?")
_UNFIT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")  # what a terminal obeys, half characters
_SIMPLE = re.compile(r"[\w.+/]+(-[\w.+/]+)*")  # needs no quotes, does not look like an option
# What files write where a label is missing
MARKS = frozenset(("", "-", "--", "---", "–", "—", "?", "n/a", "#n/a", "na", "<na>", "nan", "null", "nil", "."))


def spelling(name: str) -> str:
    """Return what names of one meaning have in common: "pos ", "Pos" and "POS" do; 1.0, 01, 1 and True do."""
    visible = "".join(c for c in unicodedata.normalize("NFKC", name) if unicodedata.category(c) != "Cf")
    text = " ".join(visible.split()).casefold()
    if (number := _WHOLE.fullmatch(text)) is not None:
        return str(int(number[1]))
    return {"true": "1", "false": "0"}.get(text, text)


def is_mark(name: str) -> bool:
    """Return whether files write this where a label is missing: `-`, `n/a`, nothing. "None" is what Python writes."""
    return spelling(name) in MARKS or name == "None"


def is_unfit(name: str) -> bool:
    """Return whether a name has control characters, which a terminal would obey, or halves of characters."""
    return _UNFIT.search(name) is not None


def quoted(name: str) -> str:
    """Return a name for a message: in quotes, on one line, shortened."""
    return repr(name if len(name) <= SHOWN else f"{name[: SHOWN - 1]}…")


def listed(names: Iterable[str], most: int = 10) -> str:
    """Return names separated by commas, for a message."""
    names = list(names)
    more = f", … ({len(names):,} in all)" if len(names) > most else ""
    return ", ".join(one_line(name, SHOWN) for name in names[:most]) + more


def json_word(value: Any) -> str:
    """Return a value as JSON that can be pasted into a shell as one word."""
    text = json.dumps(value, ensure_ascii=False)
    return shlex.quote(text if text.isprintable() else json.dumps(value))


def names_word(names: Iterable[str]) -> str:
    """Return names in order as one word for a shell: separated by commas where that is possible, else a JSON list."""
    names = list(names)
    return ",".join(names) if all(_SIMPLE.fullmatch(name) for name in names) else json_word(names)


def rename_option(renames: Mapping[str, str | None]) -> str:
    """Return --rename-labels as it can be pasted; empty for names so long or many that no one would paste it."""
    is_short = len(renames) <= MOST_RENAMES and all(len(name) <= LONGEST for name in renames)
    return f"--rename-labels {json_word(renames)}" if is_short else ""


def parse_json_names(option: str, text: str) -> dict[str, str | None] | list[str | None]:
    """Return the names in a JSON object or list; numbers are names too. Raises `BadOption` for anything else."""

    def without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in pairs]
        if repeated := next((name for name in names if names.count(name) > 1), None):
            raise BadOption(f"{option} names {quoted(repeated)} twice. Name it once")
        return dict(pairs)

    try:
        value = json.loads(text, object_pairs_hook=without_repetition)
    except RecursionError as error:
        raise BadOption(f"{option} {quoted(text)} is nested too deeply. Give one object or list of names") from error
    except ValueError as error:
        raise BadOption(f"{option} {quoted(text)} is not JSON ({one_line(error)}). Put it in quotes") from error
    names = list(value.values()) if isinstance(value, dict) else value
    try:
        if not isinstance(names, list) or any(isinstance(name, list | dict) or name != name for name in names):
            raise ValueError("holds something else")
        texts = [name if name is None else str(spelled(name)) for name in names]
    except ValueError as error:
        raise BadOption(f"{option} {quoted(text)} does not hold names alone. Write them in double quotes") from error
    return dict(zip(value, texts, strict=True)) if isinstance(value, dict) else texts


def parse_renames(text: str | None) -> Mapping[str, str | None]:
    """Return {label in the rows: its new name, or None to leave its rows out} of --rename-labels.

    Raises `BadOption`.
    """
    if text is None:
        return {}
    renames = parse_json_names("--rename-labels", text)
    if isinstance(renames, dict) and (
        unnamed := [name for name, new in renames.items() if new is not None and not new.strip()]
    ):
        proposal = rename_option({name: None if name in unnamed else new for name, new in renames.items()})
        raise BadOption(
            f"--rename-labels gives {quoted(unnamed[0])} an empty name. Give it a name, or leave its rows out with "
            f"null: {proposal or 'null without quotes'}"
        )
    if not isinstance(renames, dict) or not renames:
        example = json_word({"pos ": "pos", "-": None})
        raise BadOption(f"--rename-labels takes a JSON object of names, null to leave rows out. For example: {example}")
    return renames
