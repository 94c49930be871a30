"""What the student's turn is made of, and how its arithmetic is counted."""

from pathlib import Path

import numpy as np
import pytest
import transformers

from pipeline.cache.open import open_cache
from pipeline.config.benchmark import BenchmarkConfig
from pipeline.config.training import TrainStudentConfig
from pipeline.data.batching import BatchOrder
from pipeline.errors import BadOption
from stages import train_student
from stages.benchmarks import train
from stages.benchmarks.contenders.live_training import StudentSetup
from stages.benchmarks.harness.synthetic import RTE, synthetic_cache, teacher_config, token_lengths

SHAPE = transformers.BertConfig(
    hidden_size=32, num_hidden_layers=4, num_attention_heads=2, intermediate_size=64, num_labels=3
)


@pytest.fixture(scope="module")
def lengths():
    return token_lengths("mnli", 300)


@pytest.fixture(scope="module")
def cache(tmp_path_factory, lengths):
    path = tmp_path_factory.mktemp("synthetic") / "cache"
    synthetic_cache(path, SHAPE, lengths, shard_rows=128)
    return path


def test_token_lengths_match_the_corpora(tmp_path):
    mnli, rte = token_lengths("mnli", 100_000), token_lengths("rte", 100_000)
    assert abs(mnli.mean() - 40) < 0.5 and abs(np.quantile(mnli, 0.95) - 76) < 2 and mnli.max() == 128
    assert abs(rte.mean() - 66.6) < 1 and (rte.min(), rte.max()) == (RTE[0], 128)
    (tmp_path / "own.txt").write_text("7\n9\n")
    assert set(token_lengths(str(tmp_path / "own.txt"), 50)) == {7, 9}


@pytest.mark.parametrize(
    ("lines", "shown", "number"),
    [
        ("7\nx\n", "x", 2),
        ("length\n7\n", "length", 1),
        ("7\n\n12.5\n", "12.5", 3),
        ("7\n-5\n", "-5", 2),
        ("0", "0", 1),
        ("512\n513\n", "513", 2),
        ("9" * 26, "9" * 26, 1),
        ("9" * 5000, "9" * 40, 1),
        ("7 9\n", "7 9", 1),
    ],
)
def test_lengths_file_with_other_content_is_refused_by_line(in_directory, lines, shown, number):
    Path("own.txt").write_text(lines)
    with pytest.raises(BadOption) as caught:
        token_lengths("own.txt", 50)
    assert str(caught.value) == (
        f"--lengths own.txt holds {shown} in line {number}; lengths are whole numbers from 1 to 512, one per line. "
        "Change it, or try --lengths mnli"
    )


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("MNLI", "MNLI is not a file. Try --lengths mnli"),
        ("Rte", "Rte is not a file. Try --lengths rte"),
        ("missing.txt", "missing.txt is not a file. Try --lengths mnli"),
        ("", "'' is not a file. Try --lengths mnli"),
        (".", ". is a directory. Try --lengths mnli"),
        ("empty", "empty is empty. Try --lengths mnli"),
        ("image", "image cannot be read (it is not text). Try --lengths mnli"),
    ],
)
def test_lengths_that_are_not_a_readable_file_are_refused(in_directory, source, text):
    Path("empty").write_text("\n\n")
    Path("image").write_bytes(b"\x89PNG")
    with pytest.raises(BadOption) as caught:
        token_lengths(source, 50)
    assert str(caught.value) == f"--lengths {text}"


def test_synthetic_cache_trains_a_student(cache, tmp_path, lengths):
    opened = open_cache(cache)
    assert len(opened.splits["train"]) == 300 and np.array_equal(opened.splits["train"].lengths, lengths)
    config = TrainStudentConfig(cache=str(cache), max_steps=2, select="last", out=str(tmp_path / "run"))
    assert train_student.run(config).teacher_layers == [2]


def test_batches_of_a_turn_represent_the_epoch():
    lengths = token_lengths("mnli", 8192)
    order = BatchOrder(np.arange(8192), lengths, 32, 0)
    chosen = order.representative(train.REPRESENTATIVE)
    assert len(chosen) == 8 and all(len(ids) == 32 for ids in chosen)
    assert abs(lengths[np.concatenate(chosen)].mean() / lengths.mean() - 1) < 0.02


def test_training_flops_match_hand_calculation():
    config = transformers.BertConfig(hidden_size=4, num_attention_heads=1, intermediate_size=8, num_labels=3)
    # One layer: 4 products of 4 x 4 and 2 of 4 x 8 weights = 128. Two layers, one example of 5 tokens: the first is
    # used by 5 tokens; of the last, keys and values (32) by 5 and the other 96 by one; pooler 16, head 12.
    weights = 5 * 128 + 5 * 32 + 96 + 16 + 12
    attention = 5 * 5 + 5  # query-key pairs: all in the first layer, those of [CLS] in the last
    assert train.training_flops(config, 2, np.array([5])) == 6 * weights + 3 * 4 * 4 * attention


def test_turn_trains_both_students_on_the_same_batches(cache):
    setup = StudentSetup(SHAPE, 2, [], np.zeros(0, np.int64), batch_size=16, precision="float32")
    turn = train.from_cache(str(cache), setup, 4)
    measured = turn(2)
    assert {what: done for what, (done, _) in measured.items() if what in (train.PKD, train.FT)} == {
        train.PKD: 2 * 4 * 16,
        train.FT: 2 * 4 * 16,
    }
    assert all(seconds > 0 for _, seconds in measured.values())
    assert measured[train.FLOPS][1] == measured[train.PKD][1]


def test_teacher_shapes_and_setup_are_those_of_the_models():
    base = teacher_config("base")
    assert (base.num_hidden_layers, base.hidden_size, base.num_labels) == (12, 768, 3)
    demo = teacher_config("demo")
    assert (demo.num_hidden_layers, demo.hidden_size, demo.num_labels) == (6, 384, 3)
    setup = train.setup_of(BenchmarkConfig(name="train", quick=True, lengths="rte"))
    assert setup.student_layers == 6 and setup.batch_size == 8 and setup.matched == (2, 4, 6, 8, 10)
    assert [len(tokens) for tokens in setup.examples[:5]] == token_lengths("rte", train.EXAMPLES)[:5].tolist()
