import json
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.cache.open import open_cache
from pipeline.config.training import CacheTeacherConfig
from pipeline.data.metrics import OF_CLASS
from pipeline.data.rows.sources import load_rows
from pipeline.errors import BadCache, BadModel, BadOption, HubUnreachable
from pipeline.models.checkpoints import Head, load_classifier, load_tokenizer
from pipeline.models.encoders import cls_vectors
from pipeline.system.digests import json_digest
from stages import cache_teacher
from tests.helpers.encoders import save_pretrained_encoder
from tests.helpers.processes import start_cli
from tests.helpers.rows import write_rows
from tests.helpers.waiting import wait_until


def config(tiny, out, **options):
    defaults = dict(teacher=str(tiny.teacher), precision="float32", dtype="float32", shard_rows=64)
    return CacheTeacherConfig(**(tiny.rows | defaults | {"cache": str(out)} | options))


def contents(directory):
    return {str(p.relative_to(directory)): p.read_bytes() for p in sorted(directory.rglob("*")) if p.is_file()}


def without_times(manifest):
    return {name: value for name, value in json.loads(manifest).items() if name not in ("made", "digest")}


@pytest.mark.parametrize("container", ["arrow", "hdf5"])
def test_a_cache_holds_what_the_teacher_says_of_each_example(tiny, container):
    cache = open_cache(getattr(tiny, container))
    model, tokenizer = load_classifier(str(tiny.teacher / "model")).eval(), load_tokenizer(str(tiny.teacher / "model"))
    rows = load_rows(config(tiny, "unused"))
    assert list(cache.splits) == ["train", "dev", "test"]
    assert [len(split) for split in cache.splits.values()] == [300, 90, 40]
    assert cache.splits["test"].labelled and cache.manifest.layers == (1, 2, 3)
    for name, split in cache.splits.items():
        assert split.labels.tolist() == rows.splits[name].labels.tolist()
        assert split.column("example_id").tolist() == list(range(len(split)))
        for example in range(0, len(split), 17):
            ids = tokenizer(rows.splits[name].texts[0][example])["input_ids"]
            stored = split.rows(np.array([example])).ragged("input_ids")[0]
            assert stored.tolist() == ids
            with torch.no_grad(), cls_vectors(model, (1, 2, 3)) as vectors:
                logits = model(input_ids=torch.tensor([ids])).logits[0]
            targets = {"logits": logits, **{f"cls_{i + 1:02d}": v[0] for i, v in enumerate(vectors)}}
            for column, value in targets.items():
                stored_value = split.gather(column, np.array([example]))[0]
                np.testing.assert_allclose(stored_value, value.numpy(), atol=1e-5)


def test_both_containers_are_one_cache(tiny):
    arrow, hdf5 = open_cache(tiny.arrow), open_cache(tiny.hdf5)
    assert arrow.manifest.identity == hdf5.manifest.identity
    assert arrow.manifest.content == hdf5.manifest.content
    for name, split in arrow.splits.items():
        assert all((split.column(c) == hdf5.splits[name].column(c)).all() for c in ("row_hash", "logits", "cls_02"))
    assert open_cache(tiny.float16).manifest.identity != arrow.manifest.identity


def test_caching_twice_writes_the_same_bytes(tiny, tmp_path):
    for container in ("arrow", "hdf5"):
        cache_teacher.run(config(tiny, tmp_path / container, format=container))
        ours, theirs = contents(tmp_path / container), contents(getattr(tiny, container))
        assert without_times(ours.pop("manifest.json")) == without_times(theirs.pop("manifest.json"))
        assert ours == theirs


def test_a_finished_cache_is_left_alone_and_another_one_refused(tiny, tmp_path):
    cache = shutil.copytree(tiny.arrow, tmp_path / "cache")
    before = contents(cache)
    assert cache_teacher.run(config(tiny, cache)).identity == open_cache(tiny.arrow).manifest.identity
    with pytest.raises(BadCache) as error:
        cache_teacher.run(config(tiny, cache, dtype="float16", max_length=64, layers="1,3"))
    assert str(error.value) == (
        f"{cache} was made from something else (dtype: float32 ≠ float16; layers: [1, 2, 3] ≠ [1, 3]; "
        "max_length: 128 ≠ 64). Name another --cache"
    )
    with pytest.raises(BadCache) as error:
        cache_teacher.run(config(tiny, cache, format="hdf5"))
    assert str(error.value) == f"{cache} was made from something else (format: arrow ≠ hdf5). Name another --cache"
    assert contents(cache) == before


def test_a_cache_with_a_file_missing_is_refused(tiny, tmp_path):
    cache = shutil.copytree(tiny.arrow, tmp_path / "cache")
    (cache / "teacher" / "layer-02.safetensors").unlink()
    with pytest.raises(BadCache) as error:
        cache_teacher.run(config(tiny, cache))
    assert str(error.value) == (
        f"{cache}/teacher/layer-02.safetensors is damaged (No such file or directory). "
        f"Run: python cli.py cache verify {cache} --repair"
    )


def test_a_changed_row_or_teacher_is_another_cache(tiny, tmp_path):
    lines = Path(tiny.rows["dev_file"]).read_text().splitlines()
    changed = tmp_path / "dev.csv"
    changed.write_text("\n".join([*lines[:-1], lines[-1].replace(",", " film,")]) + "\n")
    with pytest.raises(BadCache, match=r"was made from something else \(splits.dev: [0-9a-f]{8}… ≠ [0-9a-f]{8}…\)"):
        cache_teacher.run(config(tiny, tiny.arrow, dev_file=str(changed)))
    teacher = shutil.copytree(tiny.teacher / "model", tmp_path / "teacher")
    model = load_classifier(str(teacher))
    with torch.no_grad():
        model.classifier.bias[0] += 1e-6
    model.save_pretrained(teacher)
    with pytest.raises(BadCache, match=r"was made from something else \(teacher_weights: "):
        cache_teacher.run(config(tiny, tiny.arrow, teacher=str(teacher)))


@pytest.mark.process
def test_a_killed_writer_goes_on_and_ends_with_the_same_bytes(tiny, tmp_path):
    out = tmp_path / "cache"
    rows = tiny.rows | {"train_file": str(write_rows(tmp_path / "train.csv", 2000, 1))}
    words = [f"--{name.replace('_', '-')}={value}" for name, value in rows.items()]
    words += [f"--teacher={tiny.teacher}", "--precision=float32", "--shard-rows=16"]
    process = start_cli("cache-teacher", *words, f"--cache={out}")
    wait_until(lambda: len(list(out.glob(".partial/train-*.json"))) >= 5, process=process)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL, "the cache was finished before it could be killed"
    assert not (out / "manifest.json").exists()
    with pytest.raises(BadCache) as error:
        open_cache(out)
    assert str(error.value) == (
        f"{out} is an unfinished cache. Run its command again (cache-teacher, "
        "cache pull or cache convert), or name another cache"
    )
    with pytest.raises(BadCache, match="was made from something else"):
        cache_teacher.run(config(tiny, out, train_file=rows["train_file"], dtype="float16", shard_rows=256))
    done = {path: path.stat().st_mtime_ns for path in out.glob("train/*.arrow")}
    options = dict(train_file=rows["train_file"], dtype="float16", shard_rows=16)
    cache_teacher.run(config(tiny, out, **options))
    assert sum(path.stat().st_mtime_ns == when for path, when in done.items()) >= 5  # not computed again
    assert not (out / ".partial").exists()
    cache_teacher.run(config(tiny, tmp_path / "whole", **options))
    ours, whole = contents(out), contents(tmp_path / "whole")
    assert without_times(ours.pop("manifest.json")) == without_times(whole.pop("manifest.json"))
    assert ours == whole


def test_only_the_layers_asked_for_are_kept(tiny, tmp_path):
    result = cache_teacher.run(config(tiny, tmp_path / "cache", layers="2"))
    assert result.layers == [2]
    assert [c for c in open_cache(tmp_path / "cache").splits["dev"].shards[0] if c.startswith("cls")] == ["cls_02"]
    with pytest.raises(BadOption) as error:
        cache_teacher.run(config(tiny, tmp_path / "other", layers="4"))
    assert str(error.value) == (
        "--layers 4: layer 4 is outside 1..3 (the last of the teacher's 4 layers is never matched)"
    )


def test_values_that_do_not_fit_the_stored_type(tiny, tmp_path):
    model = load_classifier(str(tiny.teacher / "model"))
    with torch.no_grad():
        model.bert.encoder.layer[1].output.LayerNorm.weight.mul_(1e5)
    teacher = shutil.copytree(tiny.teacher / "model", tmp_path / "teacher")
    model.save_pretrained(teacher)
    with pytest.raises(BadModel) as error:
        cache_teacher.run(config(tiny, tmp_path / "cache", teacher=str(teacher), dtype="float16"))
    assert str(error.value) == (
        "the teacher's [CLS] of layer 2 are not finite for example 0 of dev (stored as float16). "
        "Try --dtype float32, or another teacher"
    )
    assert not (tmp_path / "cache").exists()


def renamed(scores):
    """Metrics of class 1 by the name of that class."""
    return {f"{name}:pos" if name in OF_CLASS else name: pytest.approx(score) for name, score in scores.items()}


def test_labels_in_the_teachers_order(tiny, tmp_path):
    """A teacher that numbers the same classes otherwise is joined by their names."""
    model = load_classifier(str(tiny.teacher / "model"))
    with torch.no_grad():
        model.classifier.weight.copy_(model.classifier.weight.flip(0))
        model.classifier.bias.copy_(model.classifier.bias.flip(0))
    model.config.id2label, model.config.label2id = {0: "POS", 1: "NEG"}, {"POS": 0, "NEG": 1}
    teacher = shutil.copytree(tiny.teacher / "model", tmp_path / "teacher")
    model.save_pretrained(teacher)
    result = cache_teacher.run(config(tiny, tmp_path / "cache", teacher=str(teacher)))
    before = open_cache(tiny.arrow).manifest.teacher_metrics  # whose class 1 is pos
    assert result.teacher_metrics == {split: renamed(scores) for split, scores in before.items()}
    cache = open_cache(tmp_path / "cache")
    assert cache.manifest.task.labels == ("pos", "neg")
    assert (cache.splits["dev"].labels == 1 - open_cache(tiny.arrow).splits["dev"].labels).all()


def test_the_order_of_the_published_mnli_teacher(tmp_path, monkeypatch):
    from pipeline.data.tasks import TASKS
    from pipeline.teacher import locate

    directory = save_pretrained_encoder(tmp_path / "published")
    load_classifier(str(directory), head=Head(3, (), "single_label_classification")).save_pretrained(directory)
    monkeypatch.setattr(locate, "load_tokenizer", lambda *_: load_tokenizer(str(directory)))
    monkeypatch.setattr(locate, "load_classifier", lambda *_, **__: load_classifier(str(directory)))
    monkeypatch.chdir(tmp_path)
    teacher = locate.load_teacher(TASKS["mnli"], CacheTeacherConfig(task="mnli"), None, None)
    assert teacher.task.labels == ("contradiction", "entailment", "neutral")
    assert teacher.model.config.id2label == dict(enumerate(teacher.task.labels))


def test_teachers_that_do_not_fit(tiny, tmp_path, in_directory):
    encoder = save_pretrained_encoder(tmp_path / "three")
    load_classifier(str(encoder), head=Head(3, ("a", "b", "c"), "single_label_classification")).save_pretrained(encoder)
    with pytest.raises(BadModel) as error:
        cache_teacher.run(config(tiny, "cache", teacher=str(encoder)))
    assert str(error.value) == (
        f"{encoder} has 3 labels (a, b, c), but the task toy has 2 (neg, pos). Name another --teacher, or fine-tune "
        "one with finetune-teacher"
    )
    load_classifier(str(encoder), head=Head(2, ("no", "yes"), "single_label_classification")).save_pretrained(encoder)
    with pytest.raises(BadModel) as error:
        cache_teacher.run(config(tiny, "cache", teacher=str(encoder)))
    assert str(error.value) == (
        f"{encoder} predicts no, yes, but the task toy has neg, pos. Name another --teacher, fine-tune one with "
        "finetune-teacher, or say which of them are the same, in this order for example: "
        """--label-map '{"no": "neg", "yes": "pos"}'"""
    )
    with pytest.raises(BadOption) as error:
        cache_teacher.run(config(tiny, "cache", max_length=300))
    assert str(error.value) == "--max-length 300: this model takes 128 tokens at most. Try --max-length 128"
    assert not Path("cache").exists()


def test_no_teacher_to_be_found(tiny, in_directory):
    with pytest.raises(BadModel) as error:
        cache_teacher.run(config(tiny, "cache", teacher=None))
    rows = " ".join(f"--{n.replace('_', '-')} {tiny.rows[n]}" for n in ("train_file", "dev_file"))
    assert str(error.value) == (
        "there is no teacher for toy in runs/toy/teacher. Make one: python cli.py finetune-teacher --task toy "
        f"{rows} --text-columns text --label-column label --model demo (or any BERT-like encoder)"
    )


def test_the_published_teacher_out_of_reach(in_directory, monkeypatch):
    monkeypatch.setattr("pipeline.models.checkpoints.reachable", lambda: False)
    glue = in_directory / "RTE"
    glue.mkdir()
    for split in ("train", "dev"):
        (glue / f"{split}.tsv").write_text("index\tsentence1\tsentence2\tlabel\n0\ta\tb\tentailment\n")
    with pytest.raises(HubUnreachable) as error:
        cache_teacher.run(CacheTeacherConfig(task="rte", data_dir="RTE"))
    assert str(error.value) == (
        "there is no teacher in runs/rte/teacher, and textattack/bert-base-uncased-RTE could not be downloaded "
        "from the hub. "
        "Make one: python cli.py finetune-teacher --task rte --data-dir RTE --model demo (or any BERT-like encoder)"
    )


def test_the_users_own_line_without_a_hub(in_directory, monkeypatch):
    monkeypatch.setattr("pipeline.system.hub.reachable", lambda: False)
    monkeypatch.setattr("pipeline.models.checkpoints.reachable", lambda: False)
    with pytest.raises(HubUnreachable) as error:
        cache_teacher.run(CacheTeacherConfig(task="mnli"))
    assert str(error.value) == (
        "there is no teacher in runs/mnli/teacher, and textattack/bert-base-uncased-MNLI could not be downloaded "
        "from the hub. "
        "Make one: python cli.py finetune-teacher --task mnli --data-dir DIR --model demo (or any BERT-like encoder)"
    )
    with pytest.raises(HubUnreachable, match=r"the data set nyu-mll/glue \(mnli\) could not be downloaded"):
        cache_teacher.run(CacheTeacherConfig(task="mnli", teacher="anything"))
    assert list(in_directory.iterdir()) == []


def test_a_directory_that_holds_something_else(tiny, tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(BadCache) as error:
        cache_teacher.run(config(tiny, tmp_path))
    assert str(error.value) == f"{tmp_path} is not empty and not a cache. Name another --cache"
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_identity_is_the_digest_of_its_fields(tiny):
    manifest = json.loads((tiny.arrow / "manifest.json").read_text())
    assert manifest["identity"] == json_digest(manifest["fields"])
    home = str(Path.home())
    assert home not in (tiny.arrow / "manifest.json").read_text() or home == "/root"
