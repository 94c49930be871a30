import json
import shutil

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file

from pipeline.cache.open import open_cache
from pipeline.config.evaluation import EvaluateConfig
from pipeline.config.training import TrainStudentConfig
from pipeline.data.splits import ExampleRows
from pipeline.distillation.projection import ClsMaps
from pipeline.errors import BadCache, BadModel, BadOption, BadRun, TrainingDiverged
from pipeline.training.card import model_card
from pipeline.training.student import advance
from stages import evaluate, train_student
from tests.helpers.encoders import save_pretrained_encoder
from tests.helpers.repeated import repeated

SHORT = dict(max_steps=12, eval_every=6, precision="float32", log_every=1, lr=1e-3)


def train(cache, out, **options):
    return train_student.run(TrainStudentConfig(cache=str(cache), out=str(out), **(SHORT | options)))


def model_bytes(out):
    return {path.name: path.read_bytes() for path in sorted((out / "model").iterdir())}


def run_json(out):
    return json.loads((out / "run.json").read_text())


def test_the_same_seeds_give_the_same_bytes_from_both_containers(tiny, tmp_path):
    for name, cache in {"a": tiny.arrow, "b": tiny.arrow, "c": tiny.hdf5}.items():
        train(cache, tmp_path / name)
    a, b, c = (model_bytes(tmp_path / name) for name in "abc")
    assert a == b == c
    logs = {(tmp_path / name / "log.jsonl").read_bytes() for name in "abc"}
    assert len(logs) == 1


def test_another_seed_changes_dropout_but_not_the_order(tiny, tmp_path, monkeypatch):
    seen = {}
    check = ExampleRows.check

    def watch(self, hashes):
        seen.setdefault(name, []).append(self.ids.tolist())
        return check(self, hashes)

    monkeypatch.setattr("pipeline.data.splits.ExampleRows.check", watch)
    for name, options in {"a": {}, "b": {"seed": 1}, "c": {"data_seed": 1}}.items():
        train(tiny.arrow, tmp_path / name, **options)
    assert seen["a"] == seen["b"] != seen["c"]
    assert model_bytes(tmp_path / "a") != model_bytes(tmp_path / "b")


@pytest.mark.parametrize("method", ["ft", "kd", "pkd-skip", "pkd-last"])
def test_a_student_loads_with_plain_transformers(tiny, tmp_path, method):
    result = train(tiny.arrow, tmp_path / "run", method=method, student_layers=3)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "run" / "model")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "run" / "model")
    assert model.config.num_hidden_layers == 3 and model.config.id2label == {0: "neg", 1: "pos"}
    assert (tmp_path / "run" / "model" / "model.safetensors").is_file()
    assert (tmp_path / "run" / "model" / "README.md").read_text() == model_card(run_json(tmp_path / "run"))
    split = open_cache(tiny.arrow).splits["dev"]
    with torch.no_grad():
        for i in range(3):
            ids = torch.from_numpy(split.shards[0]["input_ids"][i].astype(np.int64))[None]
            assert model.eval()(input_ids=ids).logits.shape == (1, 2)
    text = (tiny.root / "dev.csv").read_text().splitlines()[1].split(",")[0]
    assert tokenizer(text)["input_ids"] == split.shards[0]["input_ids"][0].tolist()
    assert result.teacher_layers == {"pkd-skip": [1, 2], "pkd-last": [2, 3]}.get(method, [])
    assert set(result.metrics) == set(result.agreement) == {"dev"}


def test_students_learn(tiny, tmp_path):
    result = train(tiny.arrow, tmp_path / "run", max_steps=0, epochs=6, eval_every=0, lr=2e-3)
    assert result.metrics["dev"]["accuracy"] > 0.85 and result.agreement["dev"] > 0.85


def test_training_needs_neither_the_upper_layers_nor_the_rows(tiny, tmp_path):
    cache = shutil.copytree(tiny.arrow, tmp_path / "cache")
    for layer in (3, 4):
        (cache / "teacher" / f"layer-{layer:02d}.safetensors").unlink()
    moved = [tiny.root / name for name in ("train.csv", "dev.csv", "test.csv", "teacher", "encoder")]
    for path in moved:
        path.rename(path.with_name(path.name + ".away"))
    try:
        train(cache, tmp_path / "run", student_layers=2)
    finally:
        for path in moved:
            path.with_name(path.name + ".away").rename(path)
    train(tiny.arrow, tmp_path / "whole", student_layers=2)
    assert model_bytes(tmp_path / "run") == model_bytes(tmp_path / "whole")


def test_run_json_says_what_had_no_meaning(tiny, tmp_path):
    nothing = {"ft": ["temperature", "alpha", "beta", "reduction", "teacher_layers"], "kd": ["beta", "teacher_layers"]}
    for method, names in nothing.items():
        train(tiny.arrow, tmp_path / method, method=method)
        config = run_json(tmp_path / method)["config"]
        assert [name for name, value in config.items() if value is None] == sorted(names, key=list(config).index)


def test_settings_that_mean_the_same_are_one_run(tiny, in_directory):
    options = SHORT | {"method": "kd"}
    first = train_student.run(TrainStudentConfig(cache=str(tiny.arrow), beta=10, **options))
    again = train_student.run(TrainStudentConfig(cache=str(tiny.hdf5), beta=500, checkpoint_seconds=9, **options))
    assert first == again and first.out.startswith("runs/toy/kd-2-")
    other = train_student.run(TrainStudentConfig(cache=str(tiny.arrow), alpha=0.2, **options))
    assert other.out != first.out


def test_the_best_and_the_last_weights(tiny, tmp_path):
    options = dict(max_steps=0, epochs=3, eval_every=5, lr=5e-3, seed=1)
    train(tiny.arrow, tmp_path / "best", **options)
    train(tiny.arrow, tmp_path / "last", select="last", **options)
    best, last = run_json(tmp_path / "best"), run_json(tmp_path / "last")
    assert (best["best"], best["last"]) == (last["best"], last["last"])
    assert best["result"]["metrics"]["dev"] == best["best"]["metrics"]
    assert last["result"]["metrics"]["dev"] == last["last"]["metrics"]
    evaluations = [json.loads(line) for line in (tmp_path / "best" / "log.jsonl").read_text().splitlines()]
    scores = [line["metrics"]["accuracy"] for line in evaluations if line["kind"] == "eval"]
    assert best["best"]["metrics"]["accuracy"] == max(scores) and last["last"]["metrics"]["accuracy"] == scores[-1]


def test_early_stop(tiny, tmp_path):
    train(tiny.arrow, tmp_path / "run", lr=1e-9, max_steps=0, epochs=5, eval_every=1, early_stop=3)
    record = run_json(tmp_path / "run")
    assert record["stopped_early"] and record["steps"] == 4  # the first evaluation is the best, three are not better


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        ({"epochs": 1.0}, 10),
        ({"epochs": 0.5}, 5),
        ({"epochs": 2.25}, 23),
        ({"epochs": 1.0, "grad_accumulation": 4}, 3),
        ({"epochs": 1.0, "max_train_examples": 70}, 3),
        ({"epochs": 9.0, "max_steps": 7}, 7),
    ],
)
def test_the_number_of_steps(tiny, tmp_path, options, steps):
    train(tiny.arrow, tmp_path / "run", **({"max_steps": 0, "eval_every": 100} | options))
    assert run_json(tmp_path / "run")["steps"] == steps
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if line["kind"] == "train"] == list(range(1, steps + 1))
    assert lines[-1]["kind"] == "eval" and lines[-1]["step"] == steps


def test_accumulated_batches_are_one_large_batch(tiny, tmp_path):
    """300 examples: one step of 10 batches of 32, or of one batch of 300."""
    losses = []
    for name, options in {"a": dict(batch_size=32, grad_accumulation=10), "b": dict(batch_size=300)}.items():
        train(tiny.no_dropout, tmp_path / name, epochs=3, max_steps=0, eval_every=100, **options)
        lines = (tmp_path / name / "log.jsonl").read_text().splitlines()
        losses.append([json.loads(line)["loss"] for line in lines if "grad_norm" in line])
    assert len(losses[0]) == 3 and losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_init_from_an_encoder_without_segments_and_its_model_in_plain_transformers(tiny, tmp_path):
    init = save_pretrained_encoder(tmp_path / "init", kind="distilbert")
    train(tiny.arrow, tmp_path / "run", init=str(init))
    result = evaluate.run(EvaluateConfig(run=str(tmp_path / "run"), precision="float32"))
    metrics = run_json(tmp_path / "run")["result"]["metrics"]
    assert repeated(result.metrics, metrics) == metrics
    plain = transformers.pipeline("text-classification", str(tmp_path / "run" / "model"))
    assert plain({"text": "a good film", "text_pair": "a bad plot"})["label"] in ("neg", "pos")


def test_init_from_another_checkpoint(tiny, tmp_path):
    train(tiny.arrow, tmp_path / "a", init=str(tiny.encoder))
    train(tiny.arrow, tmp_path / "b")
    assert model_bytes(tmp_path / "a") != model_bytes(tmp_path / "b")
    wide = save_pretrained_encoder(tmp_path / "wide", hidden_size=48)
    train(tiny.arrow, tmp_path / "kd", method="kd", init=str(wide))
    with pytest.raises(BadOption) as error:
        train(tiny.arrow, tmp_path / "c", init=str(wide))
    assert str(error.value) == (
        f"--init {wide} is 48 wide and the teacher 32: their [CLS] vectors cannot be compared as they are. Add "
        "--project, or use --method kd"
    )
    with pytest.raises(BadModel) as error:
        train(tiny.arrow, tmp_path / "d", init=str(save_pretrained_encoder(tmp_path / "s", num_hidden_layers=1)))
    assert str(error.value) == f"--init {tmp_path / 's'} has only 1 layers. Try --student-layers 1"
    with pytest.raises(BadModel) as error:
        short = save_pretrained_encoder(tmp_path / "short", max_position_embeddings=16)
        train(tiny.arrow, tmp_path / "d", init=str(short))
    assert str(error.value).startswith(f"--init {short} has positions for 16 tokens, and the longest row of the cache")
    assert not (tmp_path / "c").exists() and not (tmp_path / "d").exists()


def test_chosen_layers_of_the_teacher_are_read_and_no_others(tiny, tmp_path):
    cache = shutil.copytree(tiny.arrow, tmp_path / "cache")
    train(tiny.arrow, tmp_path / "first", init_layers="1,2")
    train(tiny.arrow, tmp_path / "default", student_layers=2)
    assert model_bytes(tmp_path / "first") == model_bytes(tmp_path / "default")
    assert run_json(tmp_path / "first")["config"] == run_json(tmp_path / "default")["config"]
    for number in (1, 3):
        (cache / "teacher" / f"layer-0{number}.safetensors").unlink()
    result = train(cache, tmp_path / "run", init_layers="2,4", lr=1e-12)
    assert (result.student_layers, result.student_tokenizer, result.projected) == (2, "teacher", False)
    teacher = transformers.AutoModelForSequenceClassification.from_pretrained(tiny.arrow / "teacher").state_dict()
    student = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "run" / "model").state_dict()
    name = "bert.encoder.layer.{}.attention.self.query.weight"
    for place, layer in enumerate((2, 4)):
        torch.testing.assert_close(student[name.format(place)], teacher[name.format(layer - 1)])


def test_student_of_another_width_with_learned_maps_resumes_as_it_was(tiny, tmp_path):
    wide = save_pretrained_encoder(tmp_path / "wide", hidden_size=48)
    options = SHORT | dict(cache=str(tiny.arrow), init=str(wide), init_layers="2,3,4", project=True)
    whole = train_student.run(TrainStudentConfig(out=str(tmp_path / "whole"), **options))
    assert whole.projected and run_json(tmp_path / "whole")["result"]["projected"]
    advance(TrainStudentConfig(out=str(tmp_path / "pieces"), **options), 5)
    checkpoint = load_file(tmp_path / "pieces" / "checkpoint.safetensors")
    assert checkpoint["maps.weight"].shape == checkpoint["exp_avg.maps.weight"].shape == (2, 48, 32)
    first = ClsMaps(2, 48, 32, seed=0).weight
    assert not torch.equal(checkpoint["maps.weight"], first)  # they are trained
    train_student.run(TrainStudentConfig(out=str(tmp_path / "pieces"), resume=True, **options))
    assert model_bytes(tmp_path / "whole") == model_bytes(tmp_path / "pieces")
    plain = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "whole" / "model")
    assert plain.config.num_hidden_layers == 3 and plain.config.hidden_size == 48


def test_student_deeper_than_the_teacher_learns_from_its_logits_alone(tiny, tmp_path):
    deep = save_pretrained_encoder(tmp_path / "deep", num_hidden_layers=6)
    assert train(tiny.arrow, tmp_path / "kd", init=str(deep), student_layers=6, method="kd").student_layers == 6
    with pytest.raises(BadOption) as error:
        train(tiny.arrow, tmp_path / "pkd", init=str(deep), student_layers=6)
    assert str(error.value) == (
        "a student of 6 layers is deeper than the teacher, whose 4 layers pkd-skip matches. Use --method kd"
    )


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (dict(), "a student that starts from the teacher is as wide as the teacher. Leave --project out"),
        (
            dict(init="{encoder}"),
            "--init {encoder} is as wide as the teacher (32), so their [CLS] vectors are compared as they are. Leave "
            "--project out",
        ),
        (
            dict(init="{encoder}", method="kd"),
            "--project maps [CLS] vectors, and --method kd does not compare them. Leave --project out",
        ),
    ],
)
def test_maps_without_need(tiny, tmp_path, options, text):
    options = {name: value.format(encoder=tiny.encoder) for name, value in options.items()}
    with pytest.raises(BadOption) as error:
        train(tiny.arrow, tmp_path / "run", project=True, **options)
    assert str(error.value) == text.format(encoder=tiny.encoder) and not (tmp_path / "run").exists()


def test_a_loss_that_is_not_finite_stops_training(tiny, tmp_path):
    with pytest.raises(TrainingDiverged) as error:
        train(tiny.arrow, tmp_path / "run", lr=1e30, warmup=0, checkpoint_seconds=0)
    assert str(error.value).startswith("the loss or its gradient is not finite at step ")
    assert f"the last checkpoint is kept in {tmp_path / 'run'}. Try a smaller --lr or --beta" in str(error.value)
    assert (tmp_path / "run" / "checkpoint.safetensors").is_file() and not (tmp_path / "run" / "run.json").exists()
    assert "NaN" not in (tmp_path / "run" / "log.jsonl").read_text()


def test_directories_that_are_there_are_not_overwritten(tiny, tmp_path):
    train(tiny.arrow, tmp_path / "run")
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    with pytest.raises(BadRun) as error:
        train(tiny.arrow, tmp_path / "run", lr=2e-3)
    assert str(error.value) == (
        f"{tmp_path / 'run'} holds another run (lr: 0.001 ≠ 0.002). Choose another --out, or remove it"
    )
    assert before == {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").touch()
    with pytest.raises(BadRun) as error:
        train(tiny.arrow, tmp_path / "other")
    assert str(error.value) == f"{tmp_path / 'other'} exists and is not a run. Choose another --out"


def test_a_cache_without_a_dev_split(tiny, tmp_path):
    from pipeline.config.training import CacheTeacherConfig
    from stages import cache_teacher

    rows = {name: value for name, value in tiny.rows.items() if name not in ("dev_file", "test_file")}
    cache_teacher.run(CacheTeacherConfig(**rows, teacher=str(tiny.teacher), cache=str(tmp_path / "cache")))
    with pytest.raises(BadOption) as error:
        train(tmp_path / "cache", tmp_path / "run")
    assert str(error.value) == (
        f"--select best needs a labelled dev split, and {tmp_path / 'cache'} does not have one. Use --select last"
    )
    assert train(tmp_path / "cache", tmp_path / "run", select="last").metrics == {}


def test_a_damaged_shard(tiny, tmp_path):
    cache = shutil.copytree(tiny.arrow, tmp_path / "cache")
    shard = cache / "train" / "00001.arrow"
    shard.write_bytes(shard.read_bytes()[:-8])
    with pytest.raises(BadCache) as error:
        train(cache, tmp_path / "run")
    size = (tiny.arrow / "train" / "00001.arrow").stat().st_size
    assert str(error.value) == (
        f"{shard} is damaged (its size is {size - 8}, not {size} bytes). "
        f"Run: python cli.py cache verify {cache} --repair"
    )
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "file", ["train/00001.arrow", "dev/00000.arrow", "teacher/layer-01.safetensors", "teacher/tokenizer.json"]
)
@pytest.mark.parametrize("place", [0.3, 0.6, 0.9])
def test_one_flipped_bit_in_any_file_that_is_read(tiny, tmp_path, file, place):
    cache = shutil.copytree(tiny.arrow, tmp_path / "cache")
    data = bytearray((cache / file).read_bytes())
    data[int(len(data) * place)] ^= 1
    (cache / file).write_bytes(data)
    with pytest.raises(BadCache) as error:
        train(cache, tmp_path / "run")
    assert str(error.value).startswith(f"{cache / file} is damaged (")
    assert str(error.value).endswith(f"). Run: python cli.py cache verify {cache} --repair")
    assert not (tmp_path / "run" / "run.json").exists() and not (tmp_path / "run" / "model").exists()
    assert not (tmp_path / "run" / "checkpoint.safetensors").exists()
