"""What `benchmark inference` compares, what it writes, and which runs it refuses."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import transformers

from pipeline.config.benchmark import BenchmarkConfig
from pipeline.errors import BadOption, MissingExtra
from pipeline.inference.random_inputs import input_form
from pipeline.models.checkpoints import build_classifier, load_classifier
from stages.benchmarks import inference, inference_depth, inference_forms
from stages.benchmarks.contenders.inference_contenders import LATENCY, PRODUCT_SIZE, Turns, integer_product
from stages.benchmarks.harness.synthetic import synthetic_cache, token_lengths
from stages.benchmarks.inference_forms import forward_flops
from stages.benchmarks.inference_models import LoadedModel, load_models
from tests.helpers.encoders import ARCHITECTURES
from tests.helpers.finished_runs import save_run
from tests.helpers.paths import ROOT

SHAPE = transformers.BertConfig(
    hidden_size=32, num_hidden_layers=4, num_attention_heads=2, intermediate_size=64, num_labels=3, vocab_size=30522
)


class InThisProcess:
    """A contender without a process of its own."""

    def __init__(self, build, *arguments):
        self.build, self.arguments = build, arguments

    def __enter__(self):
        return self.build(*self.arguments)

    def __exit__(self, *_):
        pass


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("inference") / "cache"
    synthetic_cache(path, SHAPE, token_lengths("rte", 8), layers=(2,))
    return path


def without_onnx(needed_by: str) -> None:
    raise MissingExtra(f"{needed_by} needs the package onnx: pip install '.[onnx]'")


@pytest.fixture
def here(monkeypatch, in_directory) -> Path:
    """An empty current directory, products of small matrices, a tiny encoder for the depth table; no extra onnx."""
    monkeypatch.setattr(inference_forms, "require_onnx", without_onnx)
    monkeypatch.setattr(inference_forms, "Contender", InThisProcess)
    monkeypatch.setattr(inference_depth, "Contender", InThisProcess)
    monkeypatch.setattr(inference_depth, "teacher_config", lambda model: SHAPE)
    monkeypatch.setattr(inference_forms, "best_product", lambda device, precision: lambda _: {"product": (1e9, 1.0)})
    return in_directory


def test_students_are_compared_with_their_teacher_in_every_form(call, here, cache):
    save_run(here / "runs" / "two", cache=str(cache), num_hidden_layers=2, num_labels=3)
    save_run(here / "runs" / "roberta", "roberta", cache=str(cache), num_labels=3)
    words = ["benchmark", "inference", "runs/two", "runs/roberta", "--quick", "--rounds", "1", "--depths", "1,3"]
    result = call(*words, "--device", "cpu")
    assert result.code == 0 and result.json["out"] == ["results/benchmark-inference.json"]
    record = json.loads(Path("results/benchmark-inference.json").read_text())
    assert "runs/two runs/roberta" in record["command"] and list(record["models"]) == ["teacher", "two", "roberta"]
    student = record["models"]["two"]
    assert (student["teacher"], student["layers"]) == ("teacher", 2)
    assert {"torch float32"} <= set(student["forms"]) <= {"torch float32", "torch bfloat16"}
    assert "left out: the ONNX forms: ONNX Runtime needs the package onnx: pip install '.[onnx]'" in record["notes"]
    for name in student["forms"]:
        numbers = student["forms"][name]["shapes"]["8 × 128"]
        assert all(value > 0 for value in numbers.values()) and student["forms"][name]["bytes"] > 0
        assert record["measured"][f"two, {name}, 1 × 32: latency"]["unit"] == "ms"
        assert f"two, {name} / teacher, torch float32, 1 × 32: speed" in record["ratios"]
    assert list(record["depths"]) == ["3", "1"] and record["depths"]["3"]["shapes"]["1 × 128"]["time_share"] == 1
    by_hand = {int(n): found["parameters"] for n, found in record["depths"].items()}
    per_layer = 4 * (32 * 32 + 32) + 2 * 32 * 64 + 64 + 32 + 2 * 2 * 32
    assert by_hand[3] - by_hand[1] == 2 * per_layer
    line = record["lines"]["parameters by depth"]
    assert line["slope"] == pytest.approx(per_layer, rel=1e-4) and line["r_squared"] == 1
    assert "× teacher in torch float32" in result.stdout and "R² 1.0000" in result.stdout


def test_multiple_choice_runs_take_questions_with_their_choices(here):
    sizes = {"architectures": ["BertForMultipleChoice"], "num_labels": 4}
    student, teacher = save_run(here / "a", **sizes), save_run(here / "b", **sizes, hidden_size=64)
    report = inference.measure(
        BenchmarkConfig(name="inference", runs=str(student), teacher=str(teacher), quick=True, rounds=1, depths="1,2")
    )
    (flops,) = {form.shape(2, 8) for form in (input_form(model.module) for model in load_models(["a"], "b"))}
    assert flops == (2, 4, 8) and set(report.records["models"]) == {"teacher", "a"}
    with pytest.raises(BadOption) as caught:
        load_models(["a"], str(save_run(here / "c")))
    assert str(caught.value) == "a takes 4 sequences per example, and its teacher 1. Name another --teacher"


def test_lengths_are_those_that_every_model_has_positions_for(here):
    save_run(here / "short", max_position_embeddings=40)
    save_run(here / "shortest", max_position_embeddings=20)
    long = str(save_run(here / "long"))
    assert inference.common_lengths(load_models(["short"], long)) == (32,)
    assert inference.common_lengths(load_models(["short", "shortest"], long)) == (20,)


def test_without_a_run_the_packaged_model_and_its_first_layers_are_compared():
    teacher, student = load_models([], None)
    assert (teacher.name, teacher.teacher, student.name, student.teacher) == (
        "teacher", None, "its first 3 layers", "teacher",
    )  # fmt: skip
    assert (teacher.module.config.num_hidden_layers, student.module.config.num_hidden_layers) == (6, 3)


@pytest.mark.parametrize("kind", ["deberta", "deberta-v2", "modernbert", "albert", "longformer"])
def test_forward_flops_are_counted_on_other_architectures(kind):
    config_class, sizes = ARCHITECTURES[kind]
    model = build_classifier(config_class(**sizes))
    products = sum(
        weight.numel() for name, weight in model.named_parameters() if weight.ndim == 2 and "emb" not in name
    )
    tokens = 16
    assert forward_flops(model, input_form(model), tokens) > 2 * tokens * products * 0.8


@pytest.mark.parametrize("kind", ["bert", "distilbert"])
def test_forward_flops_match_hand_calculation(kind):
    config_class, sizes = ARCHITECTURES[kind]
    model = build_classifier(config_class(**sizes, num_labels=3))
    tokens, layers = 5, 4
    layer = 4 * 32 * 32 + 2 * 32 * 64
    head = 32 * 32 + 32 * 3
    whole = 2 * (tokens * layers * layer + head) + layers * 4 * 32 * tokens**2
    assert forward_flops(model, input_form(model), tokens) == whole
    if kind == "bert":  # of the last layer keys and values of every token, the rest of [CLS] alone
        saved = 2 * (tokens - 1) * (layer - 2 * 32 * 32) + 4 * 32 * (tokens**2 - tokens)
        fewer = forward_flops(model, input_form(model), tokens, cls_only=True)
        assert fewer in (whole - saved, whole - saved - 4 * 32 * tokens)  # torch may not count the attention of [CLS]
        assert forward_flops(model, input_form(model), tokens) == whole


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("absent", "absent: there is no such directory. Name a finished run, or what the command export wrote"),
        (
            "gone",
            "the cache of gone was no/cache, which does not exist. Name the teacher to compare with: --teacher DIR",
        ),
        ("started", "started is unfinished: run its command again with --resume"),
        (
            "of-teacher",
            "of-teacher is the run of a teacher. Name the run of a student, and its teacher, where it is not the one "
            "of the student's cache, with --teacher",
        ),
        ("gone --teacher started", "started is unfinished: run its command again with --resume"),
        (
            "exported",
            "exported is an export. Name the run that it was made from: its forms are made here again",
        ),
        ("gone ''", "RUN is empty. Name a directory, or leave it out"),
        ("s3://a/b", None),
        (
            "--teacher gone",
            "--teacher is what students are compared with. Name the run of a student before it",
        ),
        ("--depths 12", "--depths takes two or more different numbers from 1 to 48, as 12,6,3, not '12'"),
        ("--depths 12,x", "--depths takes two or more different numbers from 1 to 48, as 12,6,3, not '12,x'"),
        ("--depths 0,3", "--depths takes two or more different numbers from 1 to 48, as 12,6,3, not '0,3'"),
        ("--depths 3,49", "--depths takes two or more different numbers from 1 to 48, as 12,6,3, not '3,49'"),
    ],
)
def test_what_cannot_be_measured_is_refused_in_one_line(call, here, words, line):
    save_run(here / "gone", cache="no/cache")
    shutil.copytree(here / "gone", here / "of-teacher")
    record = json.loads((here / "of-teacher" / "run.json").read_text())
    (here / "of-teacher" / "run.json").write_text(json.dumps({**record, "cache": None}))
    (here / "started").mkdir()
    (here / "started" / "started.json").write_text("{}")
    (here / "exported").mkdir()
    (here / "exported" / "export.json").write_text('{"format": "onnx"}')
    result = call("benchmark", "inference", *(word.strip("'") for word in words.split()))
    assert result.code == 2 and not Path("results").exists()
    assert result.error == f"Error: {line}" if line else result.error.startswith("Error: s3://a/b is a URL")


@pytest.mark.parametrize(
    ("words", "what"),
    [("train a", "RUN"), ("all --teacher a", "--teacher"), ("growth --depths 6,3", "--depths")],
)
def test_options_of_inference_are_refused_elsewhere(call, in_directory, words, what):
    result = call("benchmark", *words.split())
    name = words.split()[0]
    assert (result.code, result.error) == (
        2,
        f"Error: {what} belongs to benchmark inference, not to {name}. Leave it out",
    )


def test_onnx_form_is_smaller_work_and_runs(in_directory):
    run = save_run(in_directory / "run", num_hidden_layers=1)
    loaded = LoadedModel("student", load_classifier(str(run / "model")), "teacher")
    forms, remarks = inference_forms.write_forms(loaded, in_directory / "forms", (8,), "cpu")
    by_form = {form.form: form for form in forms}
    assert not [remark for remark in remarks if "ONNX" in remark]
    for precision in ("float32", "int8"):
        onnx = by_form[f"ONNX {precision}"]
        assert onnx.precision == precision and onnx.flops[8] < by_form["torch float32"].flops[8]
        turn = onnx.build(*onnx.arguments, Turns(((2, 8),), 0.01, 1))
        assert turn(0)[LATENCY][1] > 0
    assert 0 < by_form["ONNX int8"].bytes < by_form["ONNX float32"].bytes
    product = integer_product(1)(1)["product"]
    assert product[0] == 2 * PRODUCT_SIZE**3 and product[1] > 0


@pytest.mark.process
def test_processes_that_run_onnx_do_not_hold_torch():
    code = (
        "import sys, stages.benchmarks.contenders.inference_contenders, stages.benchmarks.harness.timing\n"
        "heavy = {'torch', 'transformers'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)
