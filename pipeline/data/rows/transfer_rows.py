"""The rows of --unlabelled-file: texts without labels, read once and as a stream."""

import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from pipeline.config.options import option_name, values_of
from pipeline.config.rows import CacheRowsConfig
from pipeline.data.rows.choices import unanswered_rows
from pipeline.data.rows.leaks import HeldOut, Leaks
from pipeline.data.rows.raw_rows import Gathering, RawSplit
from pipeline.data.rows.rows import SplitRows, TargetStream, TaskRows
from pipeline.data.tables.columns import Wanted, parse_columns
from pipeline.data.tables.dataset_tables import is_saved_dataset
from pipeline.data.tables.places import check_file, expand, file_identity, is_url, name_of, suffix_of
from pipeline.data.tables.tables import FORMATS, read_table
from pipeline.data.tasks import TRANSFER, Task
from pipeline.errors import BadOption, BadRows, one_line
from pipeline.system.progress import note


@dataclass(kw_only=True)
class TransferRows:
    """The rows of some files, without those whose texts are also in a dev or test split: `leaks` of them.

    `targets` reads the targets of rows that have them.
    """

    files: tuple[str, ...]
    task: Task
    text_columns: tuple[str, ...]
    choices_columns: tuple[str, ...]
    held_out: HeldOut
    targets: TargetStream | None = None
    leaks: int = field(default=0, init=False)  # known when all rows have been read

    def parts(self, size: int) -> Iterator[SplitRows]:
        """Yield the rows, `size` at a time, the rest at last: no more of them are in memory at once.

        Raises `BadRows` for rows that cannot be used, after the last one, and if there are none.
        """
        target_columns = self.targets.columns if self.targets else None
        targets = target_columns.columns if target_columns else ()
        columns = (*self.text_columns, *self.choices_columns, *targets)
        wanted = Wanted(columns, choices=self.choices_columns, targets=targets, text_options="--text-columns")
        gathering = Gathering(self.text_columns, self.choices_columns, target_columns)
        leaks = Leaks(self.held_out)
        for file in self.files:
            gathering.begin(file)
            for number, cells in read_table(file, wanted, gathering.faults):
                if not gathering.add((number, (*cells, None))):
                    continue
                if leaks.has(gathering.last_texts(), lambda: f"{name_of(file)} {gathering.unit} {number}"):  # noqa: B023
                    gathering.remove_last()
                elif len(gathering) == size:
                    yield self._split(gathering.taken())
        gathering.check()
        names = one_line(", ".join(map(name_of, self.files)), 200)
        if not leaks.rows:
            raise BadRows(f"{names} does not have any rows. Check the file")
        if leaks.count == leaks.rows:
            raise BadRows(f"{names}: every row has the texts of a dev or test row, and these are left out. Name others")
        if len(gathering):
            yield self._split(gathering.taken())
        leaks.note(TRANSFER, "They are left out")
        if self.targets:
            self.targets.note(TRANSFER)
        self.leaks = leaks.count

    def _split(self, raw: RawSplit) -> SplitRows:
        targets = self.targets.logits(raw) if self.targets else None
        if self.choices_columns:
            return replace(unanswered_rows(raw, self.task.name, self.task.num_logits), targets=targets)
        labels = self.task.kind.without_labels(len(raw), self.task.num_logits)
        return SplitRows(raw.texts, labels, labelled=False, targets=targets)


def transfer_rows(config: CacheRowsConfig, rows: TaskRows) -> TransferRows | None:
    """Return the rows of --unlabelled-file, beside the task's; None without that option. They are not read yet.

    Raises `BadOption` for columns that do not fit the task, `BadRows` for files that cannot be read or are those of
    another split.
    """
    if not config.unlabelled_file:
        return None
    task = rows.task
    texts = parse_columns(config.text_columns) if config.text_columns else task.text_columns
    if len(texts) != len(task.text_columns):
        raise BadOption(
            f"--text-columns {config.text_columns}: {task.name} has {len(task.text_columns)} text columns per row "
            f"({', '.join(task.text_columns)}). Name as many"
        )
    choices = parse_columns(config.choices_columns) if config.choices_columns else ()
    if not choices and task.choices_column:
        choices = (task.choices_column,)
    files = transfer_files(config)
    _check_others(config, files)
    for file in files:
        if not is_saved_dataset(file):
            check_file(file)
    return TransferRows(
        files=files,
        task=task,
        text_columns=texts,
        choices_columns=choices,
        held_out=rows.leaks.held_out,
        targets=rows.transfer_targets,
    )


def transfer_files(config: CacheRowsConfig) -> tuple[str, ...]:
    """Return the files that --unlabelled-file names. Raises `BadRows` for a pattern or a directory without any."""
    return expand(tuple(file for place in values_of(config.unlabelled_file) for file in _files(place)))


def _files(place: str) -> list[str]:
    """Return the files of rows in a directory, sorted by name, without hidden ones; another place as it is."""
    if is_url(place) or not Path(place).is_dir() or is_saved_dataset(place):
        return [place]
    entries = [path for path in sorted(Path(place).iterdir()) if not path.name.startswith(".")]
    files = [str(path) for path in entries if path.is_file() and suffix_of(path.name) in FORMATS]
    below = "" if all(path.is_file() for path in entries) else shlex.quote(f"{name_of(place)}/**/*.csv")
    if not files:
        advice = f"Name those below it by a pattern, as {below}" if below else "Name another"
        raise BadRows(f"{name_of(place)}: the directory has no file of rows ({', '.join(FORMATS)}). {advice}")
    if below:
        note(f"{name_of(place)}: the directories in it are not read. A pattern names their files, too, as {below}")
    return files


def _check_others(config: CacheRowsConfig, files: tuple[str, ...]) -> None:
    """Raise `BadRows` for a file whose rows are those of another split, too."""
    for name in ("train_file", "dev_file", "test_file"):
        places = {file_identity(file) for file in expand(values_of(getattr(config, name)))}
        if shared := next((file for file in files if file_identity(file) in places), None):
            raise BadRows(
                f"{name_of(shared)} is given with {option_name(name)} and with --unlabelled-file. Name it with one of "
                "them"
            )
