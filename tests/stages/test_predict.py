"""Predictions: every kind of task and of file, rows as they were, breaks, streams, submissions, and bad input."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.config.predict import PredictConfig
from pipeline.config.training import CacheTeacherConfig
from pipeline.data.kinds.multiple_choice import choice_names
from pipeline.data.task_kinds import MULTI_LABEL, MULTIPLE_CHOICE, REGRESSION, SCALED_REGRESSION, SINGLE_LABEL
from pipeline.errors import BadModel, BadOption, BadRows, BadRun, DistillError
from pipeline.inference import chunk_logits, input_rows
from pipeline.inference.glue_submission import SUBMISSIONS
from pipeline.inference.predictor import load_predictor
from stages import cache_teacher, predict
from tests.helpers.bare_runs import bare_run
from tests.helpers.paths import ROOT
from tests.helpers.processes import start_function

LABELS = ("neg", "pos")
TEXTS = ["a good film", "the plot was dull", "so so", "it is a great book and a fine scene", "bad"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[str, Path]:
    """A run with a random model of each kind of task, and of sentence pairs."""
    root = tmp_path_factory.mktemp("runs")
    scores = {"label_mean": 70.0, "label_std": 8.0}
    return {
        "single": bare_run(root / "single", SINGLE_LABEL, LABELS),
        "pairs": bare_run(root / "pairs", SINGLE_LABEL, LABELS, text_columns=["q", "a"]),
        "scores": bare_run(root / "scores", SCALED_REGRESSION, (), scores),
        "several": bare_run(root / "several", MULTI_LABEL, ("a", "b", "c"), {"label_threshold": 0.5}),
        "many": bare_run(root / "many", SINGLE_LABEL, tuple(f"c{n}" for n in range(30))),
        "quiz": bare_run(
            root / "quiz", MULTIPLE_CHOICE, choice_names(3), text_columns=["text", "q"], choices_columns=["options"]
        ),
        "cola": bare_run(
            root / "cola", SINGLE_LABEL, ("unacceptable", "acceptable"), task="cola", text_columns=["sentence"]
        ),
        "stsb": bare_run(root / "stsb", REGRESSION, (), task="stsb", text_columns=["sentence1", "sentence2"]),
        "mnli": bare_run(
            root / "mnli",
            SINGLE_LABEL,
            ("contradiction", "entailment", "neutral"),
            task="mnli",
            text_columns=["premise", "hypothesis"],
        ),
    }


def write(path: Path, text: str) -> Path:
    path.write_bytes(text.encode())
    return path


def predicted(run: Path, file, out, **options) -> predict.PredictResult:
    return predict.run(PredictConfig(run=str(run), file=str(file), out=str(out), **options))


def jsonl(path: Path, rows: list[dict]) -> Path:
    return write(path, "".join(json.dumps(row) + "\n" for row in rows))


def refused(run: Path, kind: type[DistillError] = BadRows, **options) -> str:
    with pytest.raises(kind) as error:
        predict.run(PredictConfig(run=str(run), **{name: str(value) for name, value in options.items()}))
    return str(error.value)


def probabilities(run: Path, texts: list[str]) -> np.ndarray:
    predictor = load_predictor(run)
    return predictor.kind.probabilities(predictor.logits(predictor.rows(texts)))


def test_csv_keeps_every_column_and_adds_predictions(runs, tmp_path):
    rows = write(
        tmp_path / "in.csv", '\ufeffid,text,,\r\n07,"a ""good"", film",x,\r\n8,"the\nbook",,\r\n9,ünïcode dull,,\r\n'
    )
    result = predicted(runs["single"], rows, tmp_path / "out.csv")
    assert (result.rows, result.labels, result.files) == (3, ["neg", "pos"], [str(tmp_path / "out.csv")])
    assert result.bytes == (tmp_path / "out.csv").stat().st_size
    header, *lines = csv.reader((tmp_path / "out.csv").open(newline=""))
    assert header == ["id", "text", "", "", "prediction", "probability_neg", "probability_pos"]
    assert [line[:4] for line in lines] == [
        ["07", 'a "good", film', "x", ""], ["8", "the\nbook", "", ""], ["9", "ünïcode dull", "", ""]
    ]  # fmt: skip
    expected = probabilities(runs["single"], [line[1] for line in lines])
    np.testing.assert_allclose(np.array([line[5:] for line in lines], float), expected, rtol=1e-6)
    assert [line[4] for line in lines] == [LABELS[place] for place in expected.argmax(1)]


def test_jsonl_keeps_types_and_absent_keys(runs, tmp_path):
    objects = [
        {"text": TEXTS[0], "n": 1, "deep": {"a": [1.5, None]}},
        {"n": 10**30, "text": TEXTS[1]},
        {"text": TEXTS[2], "half": "\ud800"},
    ]
    rows = jsonl(tmp_path / "in.jsonl", objects)
    predicted(runs["single"], rows, tmp_path / "out.jsonl")
    out = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [{key: row[key] for key in row if key not in ("prediction", "probabilities")} for row in out] == objects
    assert all(list(row["probabilities"]) == ["neg", "pos"] for row in out)
    assert out[0]["prediction"] == max(out[0]["probabilities"], key=out[0]["probabilities"].get)


def test_parquet_keeps_types(runs, tmp_path):
    import datetime

    fields = {"text": pa.large_string(), "when": pa.timestamp("us"), "n": pa.int8(), "tags": pa.list_(pa.string())}
    day = datetime.datetime(2020, 1, 2, 3, 4, 5)
    table = pa.table(
        [TEXTS, [day] * 5, [1, None, 3, 4, 5], [["x"], [], None, ["y", "z"], ["w"]]], schema=pa.schema(fields)
    )
    pq.write_table(table, tmp_path / "in.parquet")
    predicted(runs["several"], tmp_path / "in.parquet", tmp_path / "out.parquet")
    out = pq.read_table(tmp_path / "out.parquet")
    assert out.select(list(fields)).equals(table)
    assert out.schema.names[4:] == ["prediction", "probability_a", "probability_b", "probability_c"]
    row = out.to_pylist()[0]
    assert row["prediction"] == [name for name in "abc" if row[f"probability_{name}"] >= 0.5]
    predicted(runs["single"], tmp_path / "in.parquet", tmp_path / "out.jsonl")
    first = json.loads((tmp_path / "out.jsonl").read_text().splitlines()[0])
    assert (first["when"], first["n"], first["tags"]) == ("2020-01-02 03:04:05", 1, ["x"])


def test_every_ending_has_the_same_numbers(runs, tmp_path):
    rows = jsonl(tmp_path / "in.jsonl", [{"text": text, "n": n} for n, text in enumerate(TEXTS)])
    for ending in ("csv", "jsonl", "parquet"):
        predicted(runs["single"], rows, tmp_path / f"out.{ending}")
    as_csv = list(csv.DictReader((tmp_path / "out.csv").open()))
    as_json = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    as_parquet = pq.read_table(tmp_path / "out.parquet").to_pylist()
    for one, two, three in zip(as_csv, as_json, as_parquet, strict=True):
        assert one["prediction"] == two["prediction"] == three["prediction"] and int(one["n"]) == two["n"] == three["n"]
        assert float(one["probability_pos"]) == two["probabilities"]["pos"]
        assert np.float32(two["probabilities"]["pos"]) == np.float32(three["probability_pos"])


def test_many_classes_are_in_one_column(runs, tmp_path):
    rows = write(tmp_path / "in.tsv", "text\tn\n" + "".join(f"{text}\t{n}\n" for n, text in enumerate(TEXTS)))
    predicted(runs["many"], rows, tmp_path / "out.csv")
    predicted(runs["many"], rows, tmp_path / "out.parquet")
    row = next(csv.DictReader((tmp_path / "out.csv").open()))
    assert list(row) == ["text", "n", "prediction", "probabilities"]
    assert list(json.loads(row["probabilities"])) == [f"c{n}" for n in range(30)]
    table = pq.read_table(tmp_path / "out.parquet")
    assert json.loads(table.schema.metadata[b"labels"]) == [f"c{n}" for n in range(30)]
    assert np.argmax(table["probabilities"][0].as_py()) == int(row["prediction"][1:])


def test_scores_pairs_and_questions(runs, tmp_path):
    texts = write(tmp_path / "texts.csv", "text\n" + "\n".join(TEXTS) + "\n")
    predicted(runs["scores"], texts, tmp_path / "scores.jsonl")
    scores = [json.loads(line) for line in (tmp_path / "scores.jsonl").read_text().splitlines()]
    predictor = load_predictor(runs["scores"])
    assert [list(row) for row in scores] == [["text", "prediction"]] * 5
    assert [row["prediction"] for row in scores] == predictor.kind.predictions(
        predictor.logits(predictor.rows(TEXTS))
    ).tolist()
    pairs = write(tmp_path / "pairs.csv", "first,second\na film,is it good\nso so,\n")
    assert predicted(runs["pairs"], pairs, tmp_path / "pairs.jsonl", text_columns="first,second").rows == 2
    row = {"text": "the film", "q": "so", "options": {"text": ["good", "bad", "dull"], "label": ["x", "y", "z"]}}
    quiz = write(tmp_path / "quiz.jsonl", json.dumps(row) + "\n")
    predicted(runs["quiz"], quiz, tmp_path / "quiz-out.jsonl")
    answer = json.loads((tmp_path / "quiz-out.jsonl").read_text())
    assert answer["options"] == row["options"] and list(answer["probabilities"]) == ["A", "B", "C"]
    blank = jsonl(tmp_path / "blank.jsonl", [row | {"options": ["a", "", "b"]}])
    assert refused(runs["quiz"], file=blank, out=tmp_path / "blank.csv") == (
        f"{blank} line 1: one of its choices is empty. Fill it in, or remove the row"
    )
    columns = write(tmp_path / "columns.csv", "text,q,x,y,z\nthe film,so,good,bad,dull\n")
    predicted(runs["quiz"], columns, tmp_path / "columns-out.csv", choices_columns="x,y,z")
    [spread] = csv.DictReader((tmp_path / "columns-out.csv").open())
    assert float(spread["probability_B"]) == answer["probabilities"]["B"]


def test_several_compressed_files_are_one_result_in_their_order(runs, tmp_path):
    import gzip

    for name, texts in (("part-2.csv.gz", TEXTS[2:]), ("part-1.csv.gz", TEXTS[:2])):
        (tmp_path / name).write_bytes(gzip.compress(("text\n" + "\n".join(texts)).encode()))
    assert predicted(runs["single"], tmp_path / "part-*.csv.gz", tmp_path / "out.csv").rows == 5
    assert [row["text"] for row in csv.DictReader((tmp_path / "out.csv").open())] == TEXTS


def test_predictions_of_two_models_stand_side_by_side_with_a_prefix(runs, tmp_path):
    rows = write(tmp_path / "in.csv", "text\na film\n")
    predicted(runs["single"], rows, tmp_path / "one.csv")
    fact = (
        f"{tmp_path}/one.csv has a column 'prediction' already. Add --prefix TEXT, which begins the names of the new "
    )
    assert refused(runs["several"], BadOption, file=tmp_path / "one.csv", out=tmp_path / "2.csv") == f"{fact}columns"
    predicted(runs["several"], tmp_path / "one.csv", tmp_path / "two.csv", prefix="b_")
    [row] = csv.DictReader((tmp_path / "two.csv").open())
    assert {"prediction", "b_prediction", "b_probability_a"} <= set(row)


# --- breaks --------------------------------------------------------------------------------------------------


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr(input_rows, "CHUNK_ROWS", 4)


def kill_in_third_chunk(run: str, file: str, out: str) -> None:
    """Predict in chunks of 4, and die while the third one is computed."""
    input_rows.CHUNK_ROWS = 4
    compute, calls = chunk_logits.Work.compute, []

    def dying(self, *args):
        calls.append(1)
        if len(calls) == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return compute(self, *args)

    chunk_logits.Work.compute = dying
    predict.run(PredictConfig(run=run, file=file, out=out))


@pytest.mark.process
@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_killed_call_goes_on_to_the_same_bytes(runs, tmp_path, small_chunks, ending, monkeypatch):
    rows = jsonl(tmp_path / "in.jsonl", [{"text": " ".join(TEXTS[: 1 + n % 5]), "n": n} for n in range(18)])
    whole, out = tmp_path / f"whole.{ending}", tmp_path / f"out.{ending}"
    predicted(runs["single"], rows, whole)
    process = start_function(kill_in_third_chunk, str(runs["single"]), str(rows), str(out))
    assert process.wait(120) == -signal.SIGKILL and not out.exists()
    kept = tmp_path / f"out.{ending}.partial"
    assert sorted(file.name for file in kept.glob("*.safetensors")) == ["000000.safetensors", "000001.safetensors"]
    computed = []
    compute = chunk_logits.Work.compute
    monkeypatch.setattr(
        chunk_logits.Work, "compute", lambda self, *args: computed.append(len(args[1])) or compute(self, *args)
    )
    assert predicted(runs["single"], rows, out).rows == 18
    assert computed == [4, 4, 2] and out.read_bytes() == whole.read_bytes() and not kept.exists()


def test_interrupt_keeps_chunks_and_other_work_is_not_mixed_in(runs, tmp_path, small_chunks, monkeypatch):
    rows = write(tmp_path / "in.csv", "text\n" + "\n".join(TEXTS * 2) + "\n")
    out, compute = tmp_path / "out.csv", chunk_logits.Work.compute

    def stopping(self, *args):
        if self.rows:
            raise KeyboardInterrupt
        return compute(self, *args)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(chunk_logits.Work, "compute", stopping)
        predicted(runs["single"], rows, out)
    kept = tmp_path / "out.csv.partial"
    assert [file.name for file in kept.iterdir() if file.suffix == ".safetensors"] == [
        "000000.safetensors"
    ] and not out.exists()
    with pytest.raises(BadOption) as error:
        predicted(runs["single"], rows, out, batch_size=8)
    assert str(error.value) == (
        f"{kept} has the finished part of another prediction (batch_size: 64 ≠ 8). Remove it, or name another --out"
    )
    (kept / "000000.safetensors").write_bytes(b"damaged")
    assert predicted(runs["single"], rows, out).rows == 10 and not kept.exists()


def test_failed_call_leaves_nothing(runs, tmp_path, monkeypatch):
    rows = write(tmp_path / "in.csv", "text\na film\n")
    monkeypatch.setattr(chunk_logits.Work, "compute", lambda *_: (_ for _ in ()).throw(BadModel("no")))
    assert refused(runs["single"], BadModel, file=rows, out=tmp_path / "out.csv") == "no"
    assert [path.name for path in tmp_path.iterdir()] == ["in.csv"]


def test_logits_that_are_not_finite_are_refused(runs, tmp_path):
    from safetensors.torch import load_file, save_file

    run = bare_run(tmp_path / "run", SINGLE_LABEL, LABELS)
    weights = load_file(run / "model" / "model.safetensors")
    weights["classifier.bias"][0] = float("nan")
    save_file(weights, run / "model" / "model.safetensors", metadata={"format": "pt"})
    rows = write(tmp_path / "in.csv", "text\na film\n")
    assert "computes logits that are not finite" in refused(run, BadModel, file=rows, out=tmp_path / "out.csv")
    assert not list(tmp_path.glob("out*"))


def test_json_lines_have_no_number_that_json_lacks(runs, tmp_path, monkeypatch, capsys):
    rows = write(tmp_path / "in.jsonl", '{"text": "a", "x": NaN, "y": {"z": [NaN, 1.5]}}\n')
    predicted(runs["single"], rows, tmp_path / "out.jsonl")
    [row] = (tmp_path / "out.jsonl").read_text().splitlines()
    assert json.loads(row, parse_constant=pytest.fail)["y"] == {"z": [None, 1.5]}
    infinite = write(tmp_path / "infinite.jsonl", '{"text": "a", "x": 1e999}\n')
    fact = refused(runs["single"], BadOption, file=infinite, out=tmp_path / "no.jsonl")
    assert fact.startswith("a value cannot be written to a .jsonl file (inf is not a number of JSON)")
    predicted(runs["single"], infinite, tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text().splitlines()[1].startswith("a,inf,")
    [row] = answers(runs["single"], '{"text": "a", "x": NaN}\n', monkeypatch, capsys)
    assert row["x"] is None
    with pytest.raises(BadRows, match=r"^stdin line 1: inf is not a number of JSON\. Fix this line$"):
        answers(runs["single"], '{"text": "a", "x": Infinity}\n', monkeypatch, capsys)


# --- lines ---------------------------------------------------------------------------------------------------


def answers(run: Path, text: str, monkeypatch, capsys, **options) -> list[dict]:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    predict.run(PredictConfig(run=str(run), file="-", **options))
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_lines_are_texts_or_objects(runs, monkeypatch, capsys):
    lines = 'a good film\r\n{"text": "so so", "id": 7}\n{"other": 1}\nlast without an end'
    rows = answers(runs["single"], lines, monkeypatch, capsys, batch_size=3)
    assert [row["text"] for row in rows] == ["a good film", "so so", '{"other": 1}', "last without an end"]
    assert rows[1]["id"] == 7 and all(row["prediction"] in LABELS for row in rows)
    expected = probabilities(runs["single"], ["so so"])[0]
    assert list(rows[1]["probabilities"].values()) == pytest.approx(expected, abs=1e-6)


def test_pairs_and_questions_are_tabs_lists_or_objects(runs, monkeypatch, capsys):
    lines = 'a film\tgood\n["a film", "good"]\n{"q": "a film", "a": "good"}\n'
    rows = answers(runs["pairs"], lines, monkeypatch, capsys)
    assert len(rows) == 3 and rows[0] == rows[1] == rows[2]
    question = json.dumps({"text": "a", "q": "b", "options": ["good", "bad", "so"]})
    [row] = answers(runs["quiz"], question, monkeypatch, capsys)
    assert row["options"] == ["good", "bad", "so"] and row["prediction"] in "ABC"


def test_bad_line_is_named_after_the_good_ones(runs, monkeypatch, capsys):
    for line, fact in {
        " ": "stdin line 2: no text in text. Fill it in, or remove the row",
        '{"text": {"a": 1}}': "stdin line 2: text is not text but {'a': 1}. Fix this line",
    }.items():
        with pytest.raises(BadRows) as error:
            answers(runs["single"], f"a film\n{line}\nso\n", monkeypatch, capsys, batch_size=1)
        assert str(error.value) == fact and len(capsys.readouterr().out.splitlines()) == 1
    with pytest.raises(BadRows, match="stdin line 1: has 1 of the 2 columns q, a"):
        answers(runs["pairs"], "a film\n", monkeypatch, capsys)


@pytest.mark.process
def test_stream_answers_at_once_and_its_summary_is_on_stderr(runs):
    words = [sys.executable, "cli.py", "predict", str(runs["single"]), "--file", "-"]
    pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with subprocess.Popen(words, cwd=ROOT, text=True, **pipes) as process:
        assert process.stdin and process.stdout and process.stderr
        for text in ("a good film", "so so"):
            process.stdin.write(f"{text}\n")
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["text"] == text
        process.stdin.close()
        assert process.stdout.read() == "" and process.wait(60) == 0
        summary = json.loads(process.stderr.read().splitlines()[-1])
    assert (summary["command"], summary["out"], summary["rows"]) == ("predict", "-", 2)


# --- GLUE ----------------------------------------------------------------------------------------------------


def test_submission_of_cola_has_official_name_header_numbers_and_count(runs, tmp_path):
    data, out = tmp_path / "CoLA", tmp_path / "out"
    data.mkdir()
    write(data / "test.tsv", "index\tsentence\n" + "".join(f'{n}\t{TEXTS[n % 5]} "\n' for n in range(1063)))
    result = predict.run(PredictConfig(run=str(runs["cola"]), glue=str(out), data_dir=str(data)))
    assert [path.name for path in out.iterdir()] == ["CoLA.tsv"] and result.rows == 1063
    header, *lines = (out / "CoLA.tsv").read_text().splitlines()
    assert header == "index\tprediction" and [line.split("\t")[0] for line in lines] == [str(n) for n in range(1063)]
    expected = probabilities(runs["cola"], [f'{text} "' for text in TEXTS]).argmax(1)
    assert [line.split("\t")[1] for line in lines[:5]] == [str(place) for place in expected]
    fact = f"{out}/CoLA.tsv exists, and nothing was changed. Name another --glue"
    assert refused(runs["cola"], BadOption, glue=out, data_dir=data) == fact


def test_submission_of_mnli_has_both_parts_and_the_diagnostics_in_words(runs, tmp_path, capsys):
    data, out = tmp_path / "MNLI", tmp_path / "out"
    data.mkdir()
    columns = "index\tsentence1\tsentence2\n"
    for name in ("test_matched", "test_mismatched", "diagnostic"):
        write(data / f"{name}.tsv", columns + "".join(f"{n}\t{TEXTS[n]}\t{TEXTS[-n]}\n" for n in range(5)))
    fact = (
        "MNLI-m.tsv would have 5 rows, and the official test set has 9,796. Use the official files, or write it with "
    )
    assert refused(runs["mnli"], glue=out, data_dir=data) == f"{fact}--allow-changed-rows" and not out.exists()
    config = PredictConfig(run=str(runs["mnli"]), glue=str(out), data_dir=str(data), allow_changed_rows=True)
    assert [Path(file).name for file in predict.run(config).files] == ["MNLI-m.tsv", "MNLI-mm.tsv", "AX.tsv"]
    predictor = load_predictor(runs["mnli"])
    logits = predictor.logits(predictor.rows(TEXTS, [TEXTS[-n] for n in range(5)]))
    words = [predictor.labels[place] for place in logits.argmax(1)]
    for name in ("MNLI-m.tsv", "MNLI-mm.tsv", "AX.tsv"):
        assert [line.split("\t")[1] for line in (out / name).read_text().splitlines()[1:]] == words
    error = capsys.readouterr().err
    assert f"{out} does not have all files of a submission yet: CoLA.tsv, SST-2.tsv, MRPC.tsv" in error


def test_test_rows_are_those_of_the_cache_if_files_are_not_given(runs, tmp_path):
    data = tmp_path / "CoLA"
    data.mkdir()
    for name in ("train", "dev"):
        write(data / f"{name}.tsv", "".join(f"gj04\t{n % 2}\t\t{text}\n" for n, text in enumerate(TEXTS[:4])))
    write(data / "test.tsv", "index\tsentence\n" + "".join(f"{n}\t{text}\n" for n, text in enumerate(TEXTS)))
    rows = dict(task="cola", data_dir=str(data), max_length=64, precision="float32", allow_weak_teacher=True)
    cache = tmp_path / "cache"
    cache_teacher.run(CacheTeacherConfig(**rows, teacher=str(runs["cola"] / "model"), cache=str(cache)))
    for name, options in {"files": {"data_dir": str(data)}, "cached": {"cache": str(cache)}}.items():
        config = PredictConfig(run=str(runs["cola"]), glue=str(tmp_path / name), allow_changed_rows=True, **options)
        assert predict.run(config).rows == 5
    assert (tmp_path / "files" / "CoLA.tsv").read_text() == (tmp_path / "cached" / "CoLA.tsv").read_text()


def test_scores_of_stsb_are_clipped_with_three_decimals(runs, tmp_path, monkeypatch):
    write(tmp_path / "test.tsv", "index\tsentence1\tsentence2\n0\ta\tb\n1\tthe\tfilm\n2\tso\tso\n")
    monkeypatch.setattr(chunk_logits.Work, "compute", lambda *_: np.array([[-0.2], [3.14159], [7.0]], np.float32))
    predict.run(
        PredictConfig(run=str(runs["stsb"]), glue=str(tmp_path / "o"), data_dir=str(tmp_path), allow_changed_rows=True)
    )
    assert (tmp_path / "o" / "STS-B.tsv").read_text() == "index\tprediction\n0\t0.000\n1\t3.142\n2\t5.000\n"


def test_submissions_have_the_eleven_official_names():
    names = {file.name for files in SUBMISSIONS.values() for file in files.values()}
    assert names == {
        *("CoLA.tsv", "SST-2.tsv", "MRPC.tsv", "STS-B.tsv", "QQP.tsv", "MNLI-m.tsv", "MNLI-mm.tsv"),
        *("QNLI.tsv", "RTE.tsv", "WNLI.tsv", "AX.tsv"),
    }


def test_submission_of_another_task_or_without_rows_is_refused(runs, tmp_path):
    assert refused(runs["single"], BadOption, glue=tmp_path).endswith("is of own. Use --file and --out")
    assert refused(runs["cola"], BadOption, glue=tmp_path) == (
        "--glue predicts the official test rows of cola, which are not at hand. Give --data-dir DIR with the official "
        "files"
    )
    assert refused(runs["cola"], glue=tmp_path, data_dir=tmp_path) == (
        f"--data-dir {tmp_path} has no test.tsv. Give the directory of the official cola files of GLUE"
    )


# --- bad input -----------------------------------------------------------------------------------------------


def test_rows_that_cannot_be_predicted_are_named_and_nothing_is_written(runs, tmp_path):
    file, out = tmp_path / "in.csv", tmp_path / "out.csv"
    facts = {
        "text\na\n \nb\n": f"{file} line 3: no text in text. Fill it in, or remove the row",
        "sentence\na\n": f"{file}: has no column 'text'; its columns are sentence. "
        "Name one of these with --text-columns",
        "text\n": f"{file} does not have any rows. Check the file",
        "": f"{file} does not have any rows. Check the file",
        "text,b\na,b,c\n": f"{file} line 2: has 3 fields, not 2. "
        "Put texts that hold ',' in double quotes, or fix this row",
    }
    for text, fact in facts.items():
        write(file, text)
        assert refused(runs["single"], file=file, out=out) == fact
    assert [path.name for path in tmp_path.iterdir()] == ["in.csv"]


def test_files_that_differ_are_refused(runs, tmp_path):
    write(tmp_path / "1.csv", "text,a\nx,y\n")
    write(tmp_path / "2.csv", "text,b\nx,y\n")
    write(tmp_path / "3.jsonl", '{"text": "a", "n": 1}\n{"text": "b", "n": "c"}\n')
    assert refused(runs["single"], file=tmp_path / "*.csv", out=tmp_path / "out.csv") == (
        f"{tmp_path}/2.csv: its columns are not those of the file before it. Predict it alone"
    )
    assert "are of different formats" in refused(runs["single"], file=tmp_path / "[13].*", out=tmp_path / "out.csv")
    fact = refused(runs["single"], BadOption, file=tmp_path / "3.jsonl", out=tmp_path / "out.parquet")
    assert "a parquet file cannot hold together" in fact and fact.endswith("Name a .jsonl file")
    assert predicted(runs["single"], tmp_path / "3.jsonl", tmp_path / "out.jsonl").rows == 2


def test_values_that_the_result_cannot_hold_are_refused_before_the_first_prediction(runs, tmp_path):
    jsonl(tmp_path / "half.jsonl", [{"text": "a", "half": "\ud800"}])
    jsonl(tmp_path / "empty.jsonl", [{"text": "a", "e": {}}])
    pq.write_table(pa.table({"text": ["a"], "b": [b"\xff"]}), tmp_path / "bytes.parquet")
    before = sorted(tmp_path.iterdir())
    for name, ending, remedy in (
        ("half.jsonl", "csv", "jsonl"),
        ("half.jsonl", "parquet", "jsonl"),
        ("empty.jsonl", "parquet", "jsonl"),
        ("bytes.parquet", "csv", "parquet"),
        ("bytes.parquet", "jsonl", "parquet"),
    ):
        fact = refused(runs["single"], BadOption, file=tmp_path / name, out=tmp_path / f"out.{ending}")
        assert fact.endswith(f"Name a .{remedy} file")
        assert predicted(runs["single"], tmp_path / name, tmp_path / f"out.{remedy}").rows == 1
        (tmp_path / f"out.{remedy}").unlink()
    assert sorted(tmp_path.iterdir()) == before


def test_places_of_the_result_that_cannot_be_are_refused(runs, tmp_path):
    rows = write(tmp_path / "in.csv", "text\na\n")
    facts = {
        tmp_path / "out.txt": "does not end in .parquet, .csv, .jsonl. Give it one of these endings",
        tmp_path / "no" / "out.csv": f"there is no directory {tmp_path}/no. Make it first",
        rows: "exists, and nothing was changed. Name another --out",
    }
    for out, fact in facts.items():
        assert refused(runs["single"], BadOption, file=rows, out=out).endswith(fact)
    assert refused(runs["single"], file=tmp_path, out=tmp_path / "out.csv") == (
        f"{tmp_path}: is a directory. Name its files by a pattern, as '{tmp_path}/*.csv'"
    )
    in_the_way = tmp_path / "out.csv.partial"
    in_the_way.mkdir()
    write(in_the_way / "mine.txt", "")
    assert refused(runs["single"], BadOption, file=rows, out=tmp_path / "out.csv") == (
        f"{in_the_way} is in the way: it is not of a prediction. Move it, or name another --out"
    )
    assert in_the_way.joinpath("mine.txt").exists() and rows.read_text() == "text\na\n"


@pytest.mark.parametrize(
    "options, fact",
    [
        ({}, "give --file FILE and --out FILE, or --file -, or --glue DIR"),
        ({"file": "a.csv"}, "--file needs --out FILE, which ends in .csv, .jsonl or .parquet"),
        ({"file": "-", "out": "a.csv"}, "--file - reads stdin alone, and writes to stdout"),
        ({"file": "a.csv", "glue": "d"}, "give --file FILE and --out FILE, or --file -, or --glue DIR"),
        ({"glue": "d", "prefix": "x"}, "--prefix does not go with --glue. Leave it out"),
        ({"file": "-", "data_dir": "d"}, "--data-dir belongs to --glue DIR"),
    ],
)
def test_options_that_do_not_fit_together_are_refused(runs, options, fact):
    assert refused(runs["single"], BadOption, **options).startswith(fact)


def test_damaged_weights_are_refused(tmp_path):
    run = bare_run(tmp_path / "run", SINGLE_LABEL, LABELS)
    weights = run / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    rows = write(tmp_path / "in.csv", "text\na\n")
    assert f"{run}/model cannot be loaded" in refused(run, BadModel, file=rows, out=tmp_path / "out.csv")
    weights.unlink()
    assert refused(run, DistillError, file=rows, out=tmp_path / "out.csv")
    assert refused(tmp_path, BadRun, file=rows, out=tmp_path / "out.csv").startswith(
        f"{tmp_path} is not a run or an export"
    )
