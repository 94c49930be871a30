import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.config.training import CacheTeacherConfig
from pipeline.data.rows.sources import load_rows
from pipeline.errors import BadOption, BadRows
from pipeline.teacher.row_targets import row_targets

TEXTS = ("good film", "bad film", "so so")
LABELS = ("pos", "neg", "neg")


@pytest.fixture
def load(tmp_path):
    """`load(target, …, options)`: the rows of a training file with these cells in the column `p`."""

    def read(*cells, labels=LABELS, **options):
        path = tmp_path / "train.jsonl"
        rows = [{"text": text, "p": cell} for text, cell in zip(TEXTS, cells, strict=False)]
        if options.setdefault("label_column", "label"):
            rows = [row | {"label": label} for row, label in zip(rows, labels, strict=False)]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return loaded(path, **options)

    return read


def loaded(path, **options):
    defaults = dict(task="toy", text_columns="text", target_columns="p", teacher_name="gpt")
    config = CacheTeacherConfig(**defaults | {"train_file": str(path)} | options)
    return load_rows(config, targets=row_targets(config))


def probabilities(rows, split="train"):
    exponents = np.exp(rows.splits[split].targets.astype(np.float64))
    return (exponents / exponents.sum(1, keepdims=True)).round(6).tolist()


WANTED = [[0.2, 0.8], [0.9, 0.1], [1, 0]]


@pytest.mark.parametrize(
    ("cells", "options"),
    [
        (WANTED, {}),
        ([json.dumps(cell) for cell in WANTED], {}),
        ([{"pos": 0.8, "neg": 0.2}, {"neg": 0.9}, {"neg": 1, "pos": None}], {}),
        ([{"Pos": 0.8, "NEG": 0.2}, {"neg": 0.9, "pos": 0.1}, {"Neg ": 1}], {}),
        ([{"POSITIVE": 0.8, "NEGATIVE": 0.2}, {"NEGATIVE": 0.9}, {"NEGATIVE": 1}], {}),
        (
            [{"up": 0.8, "down": 0.2}, {"down": 0.9}, {"down": 1}],
            {"label_map": '{"up": "pos", "down": "neg"}'},
        ),
        ([[float(np.log(p)) if p else -90 for p in row] for row in WANTED], {"target_kind": "logprobs"}),
        ([[float(np.log(p)) + 3 if p else -90 for p in row] for row in WANTED], {"target_kind": "logits"}),
        ([{"pos": float(np.log(0.8))}, {"neg": float(np.log(0.9))}, {"neg": 0.0}], {"target_kind": "logprobs"}),
    ],
)
def test_softmax_of_the_logits_gives_the_targets_back(load, cells, options):
    rows = load(*cells, **options)
    assert rows.task.labels == ("neg", "pos")
    assert probabilities(rows) == WANTED
    assert rows.splits["train"].targets.dtype == np.float32
    assert np.isfinite(rows.splits["train"].targets).all()
    assert rows.splits["train"].labels.tolist() == [1, 0, 0]


def test_a_label_map_gives_the_order_of_lists_and_labels_follow_it(load):
    rows = load(*WANTED, label_map="pos,neg")
    assert rows.task.labels == ("pos", "neg")
    assert probabilities(rows) == WANTED
    assert rows.splits["train"].labels.tolist() == [0, 1, 1]


@pytest.mark.parametrize(
    ("columns", "wanted"),
    [
        ("p_pos,p_neg", [[0.1, 0.9], [0.8, 0.2]]),
        ("p_pos=neg,p_neg=pos", [[0.9, 0.1], [0.2, 0.8]]),
        ('{"p_pos": "pos", "p_neg": "neg"}', [[0.1, 0.9], [0.8, 0.2]]),
        ("a,b", [[0.3, 0.7], [0.6, 0.4]]),
    ],
)
def test_columns_of_classes_match_by_name_then_by_order(tmp_path, columns, wanted):
    path = tmp_path / "rows.csv"
    path.write_text("text,label,p_neg,p_pos,a,b\ngood,pos,.1,.9,.3,.7\nbad,neg,.8,.2,.6,.4\n")
    assert probabilities(loaded(path, label_column="label", target_columns=columns)) == wanted


def test_left_out_classes_share_the_missing_mass_and_the_share_is_reported(load, capsys):
    labels = ("a", "b", "c")
    rows = load({"a": 0.7}, {"b": 0.5, "a": 0.5}, {"c": 0.2, "a": 0.2}, labels=labels)
    assert probabilities(rows) == [[0.7, 0.15, 0.15], [0.5, 0.5, 0], [0.2, 0.6, 0.2]]
    assert (
        "train: classes that targets leave out (3 targets, 1.3 classes on average) share the missing 30.00 % evenly"
    ) in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("cells", "kind", "line"),
    [
        (
            [[-2, -2], [-0.1, -2.352], [-2, -2]],
            "logprobs",
            "train: the log-probabilities of 2 of 3 targets add up to 27.07 % on average, and are scaled to 100 %",
        ),
        (
            WANTED,
            "logits",
            "train: warning: all logits are from 0 to 1 and add up to 1 in each row. If they are probabilities, give "
            "--target-kind probabilities",
        ),
    ],
)
def test_what_is_worth_a_line_is_said(load, capsys, cells, kind, line):
    load(*cells, target_kind=kind)
    assert line in capsys.readouterr().err


def test_a_map_with_a_class_twice_is_refused(tmp_path):
    cells = pa.array([[("neg", 0.3), ("neg", 0.7)]] * 2, pa.map_(pa.string(), pa.float64()))
    pq.write_table(pa.table({"text": TEXTS[:2], "label": LABELS[:2], "p": cells}), tmp_path / "rows.parquet")
    with pytest.raises(BadRows, match="an object names a class twice"):
        loaded(tmp_path / "rows.parquet")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "no dev row has a label. Fill in label, or name another --label-column; "),
        ({"label_column": None}, "no dev row has a label. Name --label-column; "),
        ({"label_column": None, "regression": True}, "no dev row has a label. Name --label-column; "),
    ],
)
def test_dev_rows_need_labels(load, tmp_path, options, message):
    dev = tmp_path / "dev.jsonl"
    dev.write_text(json.dumps({"text": "x", "p": 0.5 if "regression" in options else [0.5, 0.5]}))
    with pytest.raises(BadRows) as error:
        load(*((1, 2, 3) if "regression" in options else WANTED), dev_file=str(dev), **options)
    assert str(error.value) == f"{dev}: {message}without labels, give the rows to --unlabelled-file"


def test_the_name_of_a_class_is_smoothed(load, capsys):
    rows = load("pos", "neg", "Neg", target_smoothing=0.1)
    assert probabilities(rows) == [[0.05, 0.95], [0.95, 0.05], [0.95, 0.05]]
    assert "train: targets that name a class alone (3 of 3) spread 0.1 over all classes (--target-smoothing)" in (
        capsys.readouterr().err
    )


def test_several_labels_have_a_probability_each(load):
    labels = (["x", "y"], [], ["y"])
    rows = load([0.5, 0.9], [0, 1], [0.25, 0.75], labels=labels)
    sigmoid = 1 / (1 + np.exp(-rows.splits["train"].targets.astype(np.float64)))
    np.testing.assert_allclose(sigmoid, [[0.5, 0.9], [0, 1], [0.25, 0.75]], atol=1e-6)
    rows = load(["x"], [], ["y", "x"], labels=labels, target_smoothing=0.2)
    sigmoid = 1 / (1 + np.exp(-rows.splits["train"].targets.astype(np.float64)))
    np.testing.assert_allclose(sigmoid, [[0.9, 0.1], [0.1, 0.1], [0.9, 0.9]], atol=1e-6)


def test_scores_are_standardised_as_the_labels_are(load):
    rows = load(2000.5, "2002", [2004], labels=(2001, 2003, 2002), regression=True)
    kind = rows.task.kind
    np.testing.assert_allclose(kind.predictions(rows.splits["train"].targets), [2000.5, 2002, 2004], rtol=1e-7)
    rows = load(1, 2, 3, label_column=None, regression=True)
    assert not rows.splits["train"].labelled
    np.testing.assert_allclose(rows.task.kind.predictions(rows.splits["train"].targets), [1, 2, 3], rtol=1e-6)


def test_choices_have_a_number_each(load, tmp_path):
    path = tmp_path / "questions.jsonl"
    rows = [{"text": "t", "p": [0.2, 0.8], "c": ["u", "v"], "label": n} for n in (0, 1)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert probabilities(loaded(path, label_column="label", choices_columns="c")) == [[0.2, 0.8]] * 2


@pytest.mark.parametrize(
    ("cells", "options", "classes"),
    [
        (WANTED, {"label_map": "no,yes"}, ("no", "yes")),
        ([{"x": 0.5, "y": 0.5}, {"x": 1}, {"y": 1}], {}, ("x", "y")),
        (["x", "y", "x"], {}, ("x", "y")),
    ],
)
def test_rows_without_any_label_have_the_classes_of_their_targets(load, cells, options, classes):
    rows = load(*cells, label_column=None, **options)
    assert rows.task.labels == classes
    assert not rows.splits["train"].labelled
    assert rows.splits["train"].labels.tolist() == [-1, -1, -1]


NOT_CLASS = (
    "line 3: the target names the class 'neutral', and toy has neg, pos. Fix this row, or say what the names of the "
    """targets mean, for example: --label-map '{"neg": "neg", "pos": "pos", "neutral": "neg"}'"""
)
FORM = "Write all rows in one form: a list of numbers, an object {class: number}, or the name of a class"


@pytest.mark.parametrize(
    ("cells", "options", "message"),
    [
        (
            ([0.5, 0.5], [0.5, 0.4], [0.1, 0.1]),
            {},
            "line 2: its probabilities add up to 0.9, not 1; 2 rows are like this (lines 2, 3). Fix these rows, or "
            "name other --target-columns",
        ),
        (
            ({"pos": 0.9, "neg": 0.2}, {"pos": 1}, {"pos": 1}),
            {},
            "line 1: its probabilities add up to 1.1, not 1. Fix this row, or name other --target-columns",
        ),
        (
            ([0.5, 0.5], [0.5, float("nan")], [0, float("inf")]),
            {},
            "line 2: p is not a finite number but nan; 2 rows are like this (lines 2, 3). Write a finite number "
            "(for the logarithm of 0, -9999)",
        ),
        (
            ([0.5, 0.5], [0.5, 0.4, 0.1], [1, 0]),
            {},
            "line 2: the list of targets has 3 numbers, and the task has 2 classes. Give a number for each of neg, "
            "pos, in this order",
        ),
        (([0.5, 0.5], [0.5, "x"], [1, 0]), {}, "line 2: p is not a number but 'x'. Fix this row"),
        (([0.5, 0.5], [True, False], [1, 0]), {}, "line 2: p is not a number but True. Fix this row"),
        (([0.5, 0.5], None, ""), {}, "line 2: no target in p; 2 rows are like this (lines 2, 3). Fill it in, remove "
         "the rows, or name other --target-columns"),
        (
            ([0.5, 0.5], [-0.1, 1.1], [1, 0]),
            {},
            "line 2: the probability of neg is -0.1, outside 0 to 1. Fix this row, or say what the numbers are: "
            "--target-kind logprobs or logits (percentages are to be divided by 100)",
        ),
        (
            ([-0.5, -1], [0.5, -1], [-1, -1]),
            {"target_kind": "logprobs"},
            "line 2: the log-probability of neg is 0.5, above 0. Fix this row, or say what the numbers are: "
            "--target-kind probabilities or logits",
        ),
        (
            ([-9999, -9999], [-1, -1], [-1, -1]),
            {"target_kind": "logprobs"},
            "line 1: its exponents of the log-probabilities add up to 0, not 1. Fix this row, or name other "
            "--target-columns",
        ),
        (
            ([1e300, -1e300], [1, 0], [1, 0]),
            {"target_kind": "logits"},
            "line 1: the target 1e+300 is too large to compute with. Fix this row, or name other --target-columns",
        ),
        (
            (1, 1e39, 2),
            {"regression": True, "labels": (1, 2, 3)},
            "line 2: the target 1e+39 is too large to compute with. Fix this row, or name other --target-columns",
        ),
        (
            (["pos", "neg"], [], ["neg"]),
            {},
            "line 1: the target names 2 classes, and a row has one; 2 rows are like this (lines 1, 2). Fix these rows, "
            "or name other --target-columns",
        ),
        (
            ([], [0.5, 0.5], [1, 0]),
            {},
            "line 1: the list of targets has 0 numbers, and the task has 2 classes. Give a number for each of neg, "
            "pos, in this order",
        ),
        (
            ({"x" * 5000: 1}, {"pos": 1}, {"neg": 1}),
            {},
            f"line 1: the target names the class '{'x' * 39}…', and toy has neg, pos. Fix this row, or say what the "
            "names of the targets mean with --label-map",
        ),
        (
            ([-0.1, -0.1], [-1, -1], [-1, -1]),
            {"target_kind": "logprobs"},
            "line 1: its exponents of the log-probabilities add up to 1.80967, not 1. Fix this row, or name other "
            "--target-columns",
        ),
        (
            ({"pos": 3, "neg": 1}, {"pos": 3}, {"pos": 3}),
            {"target_kind": "logits"},
            "line 2: no logit of neg, and the others do not say what it is; 2 rows are like this (lines 2, 3). Fix "
            "these rows, or name other --target-columns",
        ),
        (("pos", "neg", "neutral"), {}, NOT_CLASS),
        (({"pos": 1}, {"neg": 1}, {"neutral": 1}), {}, NOT_CLASS),
        (({"pos": 1}, {"pos": 0.5, "Pos": 0.5}, {"neg": 1}), {}, "line 2: the target names the class pos twice. Fix "
         "this row"),
        (([0.5, 0.5], {"pos": 1}, [1, 0]), {}, f"line 2: p is an object or the name of a class, and in the first rows "
         f"a list of numbers. {FORM}"),
        (("pos", "[0.5,", "neg"), {}, "line 2: p is not JSON (Expecting value, character 6). Write a list of numbers, "
         "an object {class: number}, or the name of a class"),
        ((0.5, 0.7, 0.1), {}, "line 1: p is one number, 0.5, and a class is not named so; 3 rows are like this (lines "
         "1, 2, 3). Name a list of numbers, or a column for each class with --target-columns A,B,…"),
        (([1, 2], [1], [1]), {"regression": True, "labels": (1, 2, 3)}, "line 1: p has 2 numbers, and a score is one. "
         "Fix this row"),
    ],
)  # fmt: skip
def test_targets_that_cannot_be_are_named(load, tmp_path, cells, options, message):
    with pytest.raises(BadRows) as error:
        load(*cells, **options)
    assert str(error.value) == f"{tmp_path}/train.jsonl {message}"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"teacher_name": None}, "--target-columns needs the name of the teacher that made them: --teacher-name NAME"),
        ({"teacher_name": "model"}, "--teacher-name must be a name of 1 to 200 characters on one line, and not model: "
         "not 'model'"),
        ({"target_columns": None}, "--teacher-name is for targets in your rows: give --target-columns as well"),
        ({"target_columns": "p,p"}, "--target-columns takes one column, or a column for each class: A,B,…, "
         "A=CLASS,B=CLASS,… or JSON {column: class}, each once, not p,p"),
        ({"target_columns": "text"}, "--target-columns text is a column of texts or labels too. Name another one"),
        ({"target_columns": '["p"]'}, "--target-columns takes one column, or a column for each class: A,B,…, "
         'A=CLASS,B=CLASS,… or JSON {column: class}, not a list: ["p"]'),
        ({"no_text": True}, "--no-text is for a teacher that runs here: with --target-columns students need the texts"),
        ({"layers": "1"}, "--layers is for a model, and with --target-columns none runs: leave it out"),
        ({"max_length": 64}, "--max-length is for a model, and with --target-columns none runs: leave it out"),
        ({"regression": True, "target_kind": "logits", "labels": (1, 2, 3)}, "--target-kind is for classes, and a "
         "regression task has scores. Leave it out"),
        ({"label_column": None}, "no training row has a label, and lists do not name their classes: give --label-map "
         "A,B,… with the classes in the order of the lists, or name a --label-column"),
    ],
)  # fmt: skip
def test_options_that_do_not_fit_are_refused(load, options, message):
    cells = (1, 2, 3) if options.get("regression") else WANTED
    with pytest.raises(BadOption) as error:
        load(*cells, **options)
    assert str(error.value) == message


def test_built_in_rows_do_not_have_target_columns():
    config = CacheTeacherConfig(task="sst2", target_columns="p", teacher_name="gpt")
    with pytest.raises(BadOption, match=r"^--target-columns names columns of your own rows: give --train-file as "):
        load_rows(config, targets=row_targets(config))
