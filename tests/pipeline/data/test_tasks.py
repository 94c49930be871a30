"""The table of tasks: what holds for every task in it, and that it fits the official files of GLUE."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.config.rows import RACE, RowsConfig, is_multiple_choice
from pipeline.data.metrics import METRICS, measure
from pipeline.data.rows.sources import load_rows
from pipeline.data.tasks import TASKS, SplitSource, Task, find_task
from pipeline.errors import BadOption, BadRows

# As published: labels in the order of nyu-mll/glue, metrics of GLUE, teacher textattack/bert-base-uncased-*.
ENTAILMENT = ("entailment", "not_entailment")
GLUE = {
    "cola": (("unacceptable", "acceptable"), ("matthews_correlation",), "CoLA"),
    "sst2": (("negative", "positive"), ("accuracy",), "SST-2"),
    "mrpc": (("not_equivalent", "equivalent"), ("f1", "accuracy"), "MRPC"),
    "stsb": ((), ("pearson", "spearman"), "STS-B"),
    "qqp": (("not_duplicate", "duplicate"), ("f1", "accuracy"), "QQP"),
    "mnli": (("entailment", "neutral", "contradiction"), ("accuracy",), "MNLI"),
    "qnli": (ENTAILMENT, ("accuracy",), "QNLI"),
    "rte": (ENTAILMENT, ("accuracy",), "RTE"),
    "wnli": (ENTAILMENT[::-1], ("accuracy",), "WNLI"),
}
every_task = pytest.mark.parametrize("task", TASKS.values(), ids=list(TASKS))
every_glue_task = pytest.mark.parametrize("name", GLUE)


@every_glue_task
def test_glue_tasks_are_as_published(name):
    task = find_task(name)
    assert (task.labels, task.metrics) == GLUE[name][:2]
    assert task.published_teacher == f"textattack/bert-base-uncased-{GLUE[name][2]}"
    assert task.published_labels is None or sorted(task.published_labels) == sorted(task.labels)
    assert task.hub == ("nyu-mll/glue", name)
    assert task.broken_rows is (name == "qqp")


def test_questions_of_race_are_of_two_levels():
    tasks = {name: find_task(name) for name in RACE}
    assert [task.levels for task in tasks.values()] == [("middle", "high"), ("middle",), ("high",)]
    assert [task.hub for task in tasks.values()] == [("ehovy/race", name) for name in ("all", "middle", "high")]
    assert all(task.num_logits == 4 and is_multiple_choice(RowsConfig(task=name)) for name, task in tasks.items())


def test_reviews_and_race_are_the_tasks_outside_glue():
    assert list(TASKS) == [*GLUE, "movie-reviews", *RACE]
    reviews = find_task("movie-reviews")
    assert (reviews.hub, reviews.published_teacher, reviews.splits) == (None, None, ())


@every_task
def test_labels_columns_and_name_cannot_be_confused(task: Task):
    labels = task.labels
    assert find_task(task.name) is task and (task.kind.has_classes or task.name in RACE) is bool(labels)
    assert not task.kind.has_classes or len(set(labels)) == len(labels) >= 2
    assert task.num_logits == max(len(labels), 1)
    assert not any(label.isdigit() for label in labels)  # digits stand for the classes themselves
    assert 1 <= len(set(task.text_columns)) == len(task.text_columns) <= 2


@every_task
def test_metrics_are_known_and_one_for_a_perfect_model(task: Task):
    labels = np.arange(6) % task.num_logits if task.labels else np.linspace(0, 5, 6)
    logits = task.kind.as_logits(labels, task.num_logits)
    assert task.metrics and set(task.metrics) <= set(task.kind.metrics(task.num_logits)) <= set(METRICS)
    assert measure(task.kind, task.metrics, logits, labels) == {name: pytest.approx(1) for name in task.metrics}


@every_glue_task
def test_splits_are_one_train_then_dev_then_test(name):
    splits = find_task(name).splits
    roles = [split.role for split in splits]
    assert roles.count("train") == 1 and set(roles) == {"train", "dev", "test"}
    assert roles == sorted(roles, key=["train", "dev", "test"].index)
    for field in ("name", "hub", "file"):
        assert len({getattr(split, field) for split in splits}) == len(splits)


@pytest.mark.parametrize("name", ["train", "dev", "dev_mismatched", "test", "test_matched"])
def test_the_role_of_a_split_is_the_first_word_of_its_name(name):
    assert SplitSource(name, "anything", "any.tsv").role == name.split("_")[0]


def test_another_order_of_labels_leaves_the_task_of_the_table_alone():
    other = find_task("rte").with_labels(ENTAILMENT[::-1])
    assert (other.name, other.labels, find_task("rte").labels) == ("rte", ENTAILMENT[::-1], ENTAILMENT)


@pytest.mark.parametrize("name", ["RTE", "sst-2", "", "imdb"])
def test_an_unknown_task_is_refused(name):
    message = (
        f"there is no task {name!r}. Use one of cola, sst2, mrpc, stsb, qqp, mnli, qnli, rte, wnli, movie-reviews, "
        "race, race-middle, race-high, or name your own rows with --train-file, --dev-file, --text-columns and "
        "--label-column"
    )
    for refused in (lambda: find_task(name), lambda: load_rows(RowsConfig(task=name))):
        with pytest.raises(BadOption) as error:
            refused()
        assert str(error.value) == message


# --- the official files --------------------------------------------------------------------------------------
# Their columns in order; those with * are texts, the one with = is the label. CoLA's train and dev have no header.

STSB = "index genre filename year old_index source1 source2 sentence1* sentence2*"
MNLI = (
    "index promptID pairID genre sentence1_binary_parse sentence2_binary_parse sentence1_parse sentence2_parse "
    "sentence1* sentence2*"
)
MNLI_DEV = f"{MNLI} label1 label2 label3 label4 label5 gold_label="


def layout(labelled: str, test: str) -> dict[str, str]:
    return {"train": labelled, "dev": labelled, "test": test}


LAYOUTS = {
    "cola": layout("source label= star sentence*", "index sentence*"),
    "sst2": layout("sentence* label=", "index sentence*"),
    "mrpc": layout("Quality= #1_ID #2_ID #1_String* #2_String*", "index #1_ID #2_ID #1_String* #2_String*"),
    "stsb": layout(f"{STSB} score=", STSB),
    "qqp": layout("id qid1 qid2 question1* question2* is_duplicate=", "id question1* question2*"),
    "mnli": {
        "train": f"{MNLI} label1 gold_label=",
        "dev_matched": MNLI_DEV,
        "dev_mismatched": MNLI_DEV,
        "test_matched": MNLI,
        "test_mismatched": MNLI,
    },
    "qnli": layout("index question* sentence* label=", "index question* sentence*"),
    "rte": layout("index sentence1* sentence2* label=", "index sentence1* sentence2*"),
    "wnli": layout("index sentence1* sentence2* label=", "index sentence1* sentence2*"),
}
ONE = ['He said "no', '"All of it"', "a\u2028b", " kept\x85as it is "]
TWO = ["it 's", "a\rb\u2029c", '"', "x\x1cy"]


def write_glue(directory: Path, name: str, labels: list[str]) -> RowsConfig:
    """The official files with a row for each label; columns that nobody reads hold their name and row."""
    for split, columns in LAYOUTS[name].items():
        lines = [] if name == "cola" and split != "test" else [columns.replace("=", "").replace("*", "").split()]
        for row, label in enumerate(labels):
            texts = iter((ONE[row], TWO[row]))
            lines.append(
                [next(texts) if c[-1] == "*" else label if c[-1] == "=" else f"{c} {row}" for c in columns.split()]
            )
        if name == "mrpc":
            lines[0] = [column.replace("_", " ") for column in lines[0]]
        (directory / f"{split}.tsv").write_bytes("".join("\t".join(line) + "\n" for line in lines).encode())
    return RowsConfig(task=name, data_dir=str(directory))


def refusal(config: RowsConfig) -> str:
    with pytest.raises(BadRows) as error:
        load_rows(config)
    return str(error.value)


def four_labels(name: str, spelling: str = "names") -> list[str]:
    labels = GLUE[name][0]
    if not labels:
        return ["5.000", "0", "3.80", "2.5"]
    return [labels[i % len(labels)] if spelling == "names" else str(i % len(labels)) for i in range(4)]


@pytest.mark.parametrize("spelling", ["names", "digits"])
@every_glue_task
def test_official_files_are_read(tmp_path, name, spelling):
    rows = load_rows(write_glue(tmp_path, name, four_labels(name, spelling)))
    assert rows.task is TASKS[name]
    assert list(rows.splits) == list(LAYOUTS[name])
    assert rows.origin == f"files {', '.join(f'{split}.tsv' for split in LAYOUTS[name])}"
    classes = len(GLUE[name][0])
    labels = [i % classes for i in range(4)] if classes else [5, 0, np.float32(3.8), 2.5]
    for split, part in rows.splits.items():
        assert part.texts == ((ONE,) if name in ("cola", "sst2") else (ONE, TWO))
        assert part.labelled is not split.startswith("test")
        assert part.labels.tolist() == (labels if part.labelled else [-1] * 4)
        assert part.labels.dtype == (np.int64 if classes else np.float32)
        assert len(part) == 4


@every_glue_task
def test_test_files_may_be_absent_and_no_others(tmp_path, name):
    config = write_glue(tmp_path, name, four_labels(name))
    for path in tmp_path.glob("test*.tsv"):
        path.unlink()
    needed = [split for split in LAYOUTS[name] if not split.startswith("test")]
    assert list(load_rows(config).splits) == needed
    for last in (needed[-1:], needed):  # without the last file, then without any
        for split in last:
            (tmp_path / f"{split}.tsv").unlink(missing_ok=True)
        files = ", ".join(f"{split}.tsv" for split in last)
        hint = f"Give the directory of the official {name} files of GLUE"
        assert refusal(config) == f"--data-dir {tmp_path} has no {files}. {hint}"


@pytest.mark.parametrize("name", [name for name in GLUE if name != "qqp"])
def test_a_row_with_a_field_too_few_is_refused(tmp_path, name):
    config = write_glue(tmp_path, name, four_labels(name))
    path = tmp_path / f"{list(LAYOUTS[name])[1]}.tsv"
    lines = path.read_bytes().split(b"\n")
    fields = lines[2].count(b"\t")
    path.write_bytes(b"\n".join([*lines[:2], lines[2].rpartition(b"\t")[0], *lines[3:]]))
    assert refusal(config) == f"{path} line 3: has {fields} fields, not {fields + 1}. Fix this row"


PAIR = "sentence1\tsentence2\tlabel"
SCORE = "sentence1\tsentence2\tscore"
REMOVE = "Fill it in, or remove the row"
FIX = "Fix this row"
QQP = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate"
QQP_ROW = "4\t1\t2\tc\td\t1"


def test_broken_and_half_empty_rows_of_qqp_are_tolerated(tmp_path):
    rows = ["0\t1\t2\ta\t\t1", "1\t1\t2\t \tb\t0", "2\t1\t2\tonly one", "3\t1\t2\ta\tb\t1\tmore", QQP_ROW]
    (tmp_path / "train.tsv").write_text("\n".join([QQP, *rows]))
    (tmp_path / "dev.tsv").write_text(f"{QQP}\n{QQP_ROW}\n")
    train = load_rows(RowsConfig(task="qqp", data_dir=str(tmp_path))).splits["train"]
    assert train.texts == (["a", " ", "c"], ["", "b", "d"])
    assert train.labels.tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    ("task", "header", "row", "broken", "message"),
    [
        ("qqp", QQP, QQP_ROW, "1\t1\t2\t \t\t0", f"dev.tsv line 3: no text in question1 and question2. {REMOVE}"),
        *(
            (task, header, "a\tb\t1", " \t\x85\t1", f"dev.tsv line 3: no text in sentence1 and sentence2. {REMOVE}")
            for task, header in [("rte", PAIR), ("wnli", PAIR), ("stsb", SCORE)]
        ),
        *(
            (
                "stsb",
                SCORE,
                "a\tb\t2.5",
                f"a\tb\t{score}",
                f"dev.tsv line 3: the score {score!r} is not a number. {FIX}",
            )
            for score in ("", "high", "nan", "inf", "-inf")
        ),
        ("rte", PAIR, "a\tb\t1", None, "dev.tsv does not have any rows. Check the file"),
    ],
)
def test_official_rows_that_cannot_be_used_are_refused(tmp_path, task, header, row, broken, message):
    (tmp_path / "train.tsv").write_text(f"{header}\n{row}\n")
    (tmp_path / "dev.tsv").write_text(f"{header}\n{row}\n{broken}\n" if broken else f"{header}\n")
    assert refusal(RowsConfig(task=task, data_dir=str(tmp_path))) == f"{tmp_path}/{message}"
