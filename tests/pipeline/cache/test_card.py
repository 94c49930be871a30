"""Cards of published caches."""

from dataclasses import replace

from huggingface_hub import DatasetCard

from pipeline.cache.card import dataset_card, teacher_intervals
from pipeline.cache.open import open_cache
from tests.pipeline.system.test_markdown import HOSTILE


def test_card_has_the_teacher_with_intervals_and_how_to_train_from_it(tiny):
    cache = open_cache(tiny.arrow)
    text = dataset_card(cache.manifest, "s3://user:secret@bucket/toy?x=1", teacher_intervals(cache))
    data = DatasetCard(text).data
    assert (data.size_categories, data.task_categories) == (["n<1K"], ["text-classification"])
    assert data.language is None and data.viewer is False
    accuracy = cache.manifest.teacher_metrics["dev"]["accuracy"]
    assert f"| `dev` | `accuracy` | {accuracy:.4f} | " in text and "| `train` | 300 | 300 |" in text
    assert "pkd train-student --cache s3://bucket/toy\n" in text and "secret" not in text
    assert f"- content: `{cache.manifest.content}`" in text and "It holds the texts of the rows." in text


def test_words_of_others_are_neither_markup_nor_metadata(tiny):
    manifest = open_cache(tiny.arrow).manifest
    task = replace(manifest.task, name=HOSTILE, labels=(HOSTILE, "b"), text_columns=(HOSTILE,))
    made = {"teacher": HOSTILE, "rows_from": HOSTILE, "command": f"{HOSTILE}\n```\n# title"}
    text = dataset_card(replace(manifest, task=task, made=made), "s3://bucket/toy", {})
    headings = [line for line in text.splitlines() if line.startswith("#")]
    assert all(line.startswith(("# Cached teacher for", "## ")) for line in headings)
    assert "\x1b" not in text and len([line for line in text.splitlines() if line == "---"]) == 2
    assert set(DatasetCard(text).data.to_dict()) == {
        *("pretty_name", "size_categories", "tags", "task_categories", "viewer")
    }
