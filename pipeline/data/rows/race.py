"""RACE (Lai et al., 2017): questions about English texts, from exams of middle and high schools, in its own files."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.data.rows.answers import NO_ANSWER
from pipeline.data.rows.choices import choice_rows
from pipeline.data.rows.own_rows import dataset_rows
from pipeline.data.rows.raw_rows import RawSplit
from pipeline.data.rows.rows import TaskRows
from pipeline.data.tables.cells import Cell, spelled
from pipeline.data.tables.places import opened
from pipeline.data.tasks import TEST, Task, role_of
from pipeline.errors import BadRows, HubUnreachable, one_line

LETTERS = ("A", "B", "C", "D")
MOST_DIGITS = 1000


def race_rows(task: Task, data_dir: str | None) -> TaskRows:
    """Return the splits of RACE from its published directory, else from the hub. Raises `BadRows`, `HubUnreachable`."""
    assert task.hub is not None and task.choices_column is not None
    if data_dir:
        raw = _file_rows(task, Path(data_dir))
        origin = f"files {', '.join(task.levels)} of RACE"
    else:
        name = ":".join(task.hub)
        try:
            raw = dataset_rows(name, task.text_columns, task.file_label, (task.choices_column,))
        except HubUnreachable as error:
            raise HubUnreachable(
                f"the data set {name} could not be downloaded. Check the connection, or give --data-dir DIR with the "
                "official files of RACE"
            ) from error
        origin = f"hub {name}"
    labels, splits = choice_rows(raw, task.name)
    return TaskRows(task.with_labels(labels), splits, origin)


def _file_rows(task: Task, directory: Path) -> dict[str, RawSplit]:
    folders = {source.name: [directory / source.file / level for level in task.levels] for source in task.splits}
    needed = [
        path
        for source in task.splits
        for path in folders[source.name]
        if source.role != TEST or any(level.is_dir() for level in folders[source.name])
    ]
    if missing := [str(path.relative_to(directory)) for path in needed if not path.is_dir()]:
        advice = "Give the directory RACE of the official files, which holds train, dev and test"
        if (directory / "RACE").is_dir():
            advice = f"Try --data-dir {directory / 'RACE'}"
        raise BadRows(f"--data-dir {one_line(directory)} has no {', '.join(missing)}. {advice}")
    problems: list[str] = []
    raw = {}
    for name, paths in folders.items():
        files = [file for path in paths if path.is_dir() for file in sorted(path.glob("*.txt"), key=_in_order)]
        if files:
            raw[name] = _split(files, role_of(name), problems)
    if problems:
        more = f"; {len(problems):,} files are like this" if len(problems) > 1 else ""
        raise BadRows(f"{problems[0]}{more}. Take RACE from its official archive again")
    if empty := [source.name for source in task.splits if source.role != TEST and source.name not in raw]:
        raise BadRows(f"--data-dir {one_line(directory)} has no articles (*.txt) in {', '.join(empty)}. Check it")
    return raw


def _in_order(path: Path) -> tuple[int, str]:
    return (int(path.stem) if path.stem.isdecimal() else -1, path.name)


def _split(files: list[Path], role: str, problems: list[str]) -> RawSplit:
    """Return the questions of these files; what is wrong with one that cannot be used is added to `problems`."""
    texts: tuple[list[str], list[str]] = ([], [])
    split = RawSplit(texts=texts, labels=[], numbers=[], places=[], unit="question")
    for file in files:
        split.places.append((str(file), len(split.labels)))
        try:
            questions = list(_questions(_record(file), role))
        except ValueError as error:
            problems.append(f"{one_line(file)}: is not an article of RACE ({one_line(error)})")
            continue
        for number, (article, question, options, answer) in enumerate(questions, start=1):
            texts[0].append(article)
            texts[1].append(question)
            split.choices.append((options,))
            split.labels.append(answer)
            split.numbers.append(number)
    return split


def _record(file: Path) -> dict[str, Any]:
    """Return the object in a file. Raises ValueError for another file, `BadRows` where the system refuses it."""
    if not file.is_file():  # reading a pipe would wait for ever
        raise ValueError("a link to nothing" if file.is_symlink() else "not a file")
    with opened(str(file)) as stream:
        data = stream.read()
    try:
        record = json.loads(data.decode("utf-8-sig"), parse_int=_number)
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 text, byte 0x{data[error.start]:02x}") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON, line {error.lineno}, character {error.colno}: {error.msg}") from error
    except RecursionError as error:
        raise ValueError("not JSON that can be read: it is nested too deeply") from error
    if not isinstance(record, dict):
        raise ValueError("not a JSON object")
    return record


def _number(digits: str) -> int | str:
    """Return a whole number, as text where it has more digits than Python converts."""
    return int(digits) if len(digits) < MOST_DIGITS else digits


def _questions(record: dict[str, Any], role: str) -> Iterator[tuple[str, str, list[str | None], Cell]]:
    """Yield (article, question, options, answer) of the questions in a file; test questions may lack the answer.

    Raises ValueError for another file.
    """
    article, questions = _text(record, "article"), record.get("questions")
    if role == TEST and not record.get("answers") and isinstance(questions, list):
        record = record | {"answers": [None] * len(questions)}
    lists = [record.get(name) for name in ("questions", "options", "answers")]
    if not all(isinstance(values, list) and len(values) == len(lists[0] or ()) for values in lists) or not lists[0]:
        raise ValueError("questions, options and answers are not lists of one length")
    for question, options, answer in zip(*lists, strict=True):
        texts = spelled(options)
        if not isinstance(question, str) or not isinstance(texts, list) or len(texts) != len(LETTERS):
            raise ValueError(f"a question without {len(LETTERS)} options")
        if answer not in LETTERS and not (role == TEST and spelled(answer) in NO_ANSWER):
            raise ValueError(f"an answer that is not a letter from {LETTERS[0]} to {LETTERS[-1]}")
        yield article, str(spelled(question)), texts, answer if answer in LETTERS else None


def _text(record: dict[str, Any], name: str) -> str:
    value = record.get(name)
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"no {name}")
    return str(spelled(value))
