"""Labels of your own rows that may not be meant as they are: a question before anything is trained on them."""

import re
from collections import Counter
from collections.abc import Mapping

from pipeline.data.labels.label_names import LONGEST, is_mark, quoted, rename_option, spelling
from pipeline.data.rows.raw_rows import RawSplit
from pipeline.errors import BadRows, one_line

FIRST_NAMED = 3  # rows with a label that are named
MOST_FACTS = 5  # doubtful labels that are named
FEWEST_CLASSES = 12  # from which labels that are nearly all different are asked about
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,2})?")
KEEP = "if they are classes as they are, add --yes"


def check_classes(train: RawSplit, column: str, renames: Mapping[str, str | None]) -> None:
    """Raise `BadRows`, a question with line numbers and what answers it, for labels that are hardly meant as they are.

    `renames` are those of --rename-labels so far: the line to paste includes them. Rows of several labels have an entry
    of `train.labels` for each, and texts once.
    """
    counts = Counter(label for label in train.labels if isinstance(label, str))
    header = [label for label in counts if spelling(label) == spelling(column)]
    marks = [label for label in counts if is_mark(label)]
    _check_scores(train, column, [label for label in counts if label not in (*header, *marks)])
    twins, by_spelling = [], _by_spelling(counts)
    for names in by_spelling.values():
        twins += [(names[0], name) for name in names[1:] if name not in (*header, *marks)]
    facts = [f"{_rows(train, label, counts)} is the name of its column, a repeated header" for label in header]
    facts += [f"{_rows(train, label, counts)} is how files write a missing label" for label in marks]
    facts += [
        f"{_rows(train, name, counts)} differs from {_rows(train, best, counts)} only in case, white space "
        "or the spelling of a number"
        for best, name in twins
    ]
    if facts:
        more = f"; and {len(facts) - MOST_FACTS:,} more" if len(facts) > MOST_FACTS else ""
        answers = {**dict.fromkeys((*header, *marks)), **{name: best for best, name in twins}}
        null = " (null leaves them out)" if header or marks else ""
        answer = rename_option({**renames, **answers}) if len(counts) - len(answers) > 1 else ""
        advice = f"Add {answer}{null}" if answer else "Fix them in the file"
        place = one_line(train.places[0][0])
        raise BadRows(f"{place}: the label {'; '.join(facts[:MOST_FACTS])}{more}. {advice}; {KEEP}")
    _check_different(train, column, counts)


def _by_spelling(counts: Mapping[str, int]) -> dict[str, list[str]]:
    """Return the labels of each spelling, the one to keep first: without white space around it, the most frequent."""
    groups: dict[str, list[str]] = {}
    for label in sorted(
        counts, key=lambda label: (label != " ".join(label.split()), -counts[label], len(label), label)
    ):
        groups.setdefault(spelling(label), []).append(label)
    return groups


def rows_of_label(train: RawSplit, label: str) -> str:
    """Return the first rows with a label, in words: "line 3", "lines 3, 8, 9, …"."""
    first = [train.numbers[row] for row, text in enumerate(train.labels) if text == label][: FIRST_NAMED + 1]
    more = ", …" if len(first) > FIRST_NAMED else ""
    return f"{train.unit}{'s' if len(first) > 1 else ''} {', '.join(map(str, first[:FIRST_NAMED]))}{more}"


def _rows(train: RawSplit, label: str, counts: Mapping[str, int]) -> str:
    count = f"{counts[label]:,} rows: " if counts[label] > 1 else ""
    return f"{quoted(label)} ({count}{rows_of_label(train, label)})"


def is_number(label: str) -> bool:
    """Return whether a label is written as a number."""
    return _NUMBER.fullmatch(label) is not None


def is_decimal(label: str) -> bool:
    """Return whether a label is a number that is not whole: a score rather than a name."""
    return is_number(label) and float(label) % 1 != 0


def _check_scores(train: RawSplit, column: str, labels: list[str]) -> None:
    """Raise `BadRows` for numbers with decimals, which are scores rather than names."""
    if not labels or not all(map(is_number, labels)):
        return
    decimals = [label for label in labels if is_decimal(label)]
    if decimals:
        examples = ", ".join(decimals[:3]) + (", …" if len(decimals) > 3 else "")
        raise BadRows(
            f"{one_line(train.places[0][0])}: the labels in {one_line(column, 40)} are numbers with decimals "
            f"({examples}; the first in {rows_of_label(train, decimals[0])}), {len(labels):,} different ones in "
            f"{len(train.texts[0]):,} rows. If they are scores, add --regression; {KEEP}"
        )


def _check_different(train: RawSplit, column: str, counts: Mapping[str, int]) -> None:
    """Raise `BadRows` for about as many labels as rows, or long ones: texts, identifiers or scores."""
    nearly = len(counts) > FEWEST_CLASSES and len(counts) > len(train) / 2
    longest = max(counts, key=len, default="")
    if not nearly and not (len(counts) == len(train) > 3) and len(longest) <= LONGEST:
        return
    raise BadRows(
        f"{one_line(train.places[0][0])}: {len(train.texts[0]):,} rows have {len(counts):,} different labels in "
        f"{one_line(column, 40)}, for example {quoted(longest)} ({rows_of_label(train, longest)}). If the columns are "
        "swapped, exchange --text-columns and --label-column; if the labels are scores, add --regression; " + KEEP
    )
