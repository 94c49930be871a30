"""Questions as sequences: the text is cut, never the question or a choice."""

import json

import numpy as np
import pytest

from pipeline.config.rows import RowsConfig
from pipeline.data.rows.sources import load_rows
from pipeline.data.splits import row_hash
from pipeline.data.tokenize import tokenize
from pipeline.errors import BadRows
from tests.helpers.encoders import tokenizer
from tests.helpers.rows import WORDS

OPTIONS = {"task": "quiz", "text_columns": "text,question", "choices_columns": "options", "label_column": "answer"}


def split_of(tmp_path, rows, max_length, types=True):
    path = tmp_path / "train.jsonl"
    path.write_text(
        "".join(json.dumps(dict(zip(("text", "question", "options", "answer"), r, strict=True))) + "\n" for r in rows)
    )
    loaded = load_rows(RowsConfig(**OPTIONS, train_file=str(path)))
    return tokenize("train", loaded.splits["train"], tokenizer(types), max_length)


def sequences(split, row):
    shard = split.shards[0]
    ends = np.cumsum(shard["sequence_lengths"][row])
    return [
        [tokenizer().decode(ids), types.tolist()]
        for ids, types in zip(
            np.split(shard["input_ids"][row], ends[:-1]), np.split(shard["token_type_ids"][row], ends[:-1]), strict=True
        )
    ]


def test_only_the_text_is_cut(tmp_path):
    split = split_of(
        tmp_path, [("the film was so good", "was it", ["good", "not so good"], 0), ("a", "is", ["a", "b"], 1)], 9
    )
    assert sequences(split, 0) == [
        ["[CLS] the film was [SEP] was it good [SEP]", [0, 0, 0, 0, 0, 1, 1, 1, 1]],
        ["[CLS] the [SEP] was it not so good [SEP]", [0, 0, 0, 1, 1, 1, 1, 1, 1]],
    ]
    assert split.shards[0]["sequence_lengths"].tolist() == [[9, 9], [6, 6]] and split.lengths.tolist() == [9, 6]
    stored = split.shards[0]
    assert [row.tobytes() for row in stored["row_hash"]] == [
        row_hash(stored["input_ids"][row], stored["sequence_lengths"][row]) for row in range(2)
    ]


def test_model_without_token_types(tmp_path):
    shard = split_of(tmp_path, [("the film", "was it", ["good", "bad"], 0)], 9, types=False).shards[0]
    assert "token_type_ids" not in shard and shard["sequence_lengths"].tolist() == [[8, 8]]


def test_question_that_leaves_no_room_is_named(tmp_path):
    rows = [("the film", "is", ["good", "bad"], 0)] + [("the film", " ".join(WORDS[:8]), ["good", "bad"], 0)] * 2
    assert len(split_of(tmp_path, rows, 13)) == 3  # one token of the text is kept
    with pytest.raises(BadRows) as error:
        split_of(tmp_path, rows, 12)
    assert str(error.value) == (
        f"{tmp_path}/train.jsonl line 2: its question with a choice has 9 tokens, and --max-length 12 leaves 8; 2 rows "
        "are like this (lines 2, 3). Raise --max-length, or shorten these rows"
    )
