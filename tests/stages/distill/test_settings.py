import tomllib
from dataclasses import dataclass, field

import pytest

from pipeline.cache.format.manifest import SplitRecord
from pipeline.config.distill import DistillConfig
from pipeline.config.training import FinetuneTeacherConfig, TrainStudentConfig
from stages.distill.settings import epochs, short_search, training_rows
from stages.sweep.search.space import read_space


@dataclass
class Shard:
    rows: int


@dataclass
class Counted:
    """As much of a manifest as a search asks for."""

    splits: dict = field(default_factory=dict)


def manifest(labelled, unlabelled=0, transfer=0):
    train = SplitRecord(labelled > 0, (Shard(labelled + unlabelled),), labelled)
    splits = {"train": train, "dev": SplitRecord(True, (Shard(500),))}
    return Counted(splits | ({"transfer": SplitRecord(False, (Shard(transfer),))} if transfer else {}))


def config(**options):
    return DistillConfig(**{"train_file": "rows.csv"} | options)


def methods(search):
    return [setting["method"] for setting in search.settings]


def test_rows_are_counted_with_and_without_labels():
    assert training_rows(manifest(100)) == (100, 100)
    assert training_rows(manifest(100, 20, 300)) == (100, 420)


def test_search_has_a_control_and_both_ways_to_distil():
    search = short_search(config(), manifest(5000), 3)
    assert methods(search) == ["ft", "kd", "pkd-skip"] * 2 + ["kd", "pkd-skip"]
    assert {setting["epochs"] for setting in search.settings} == {4.0}
    assert {setting["lr"] for setting in search.settings} == {5e-5, 1e-4}
    assert methods(short_search(config(trials=2), manifest(5000), 3)) == ["ft", "kd"]


def test_search_learns_from_the_teacher_alone_where_rows_lack_labels():
    search = short_search(config(), manifest(256, 0, 6774), 3)
    assert {setting.get("alpha", 1.0) for setting in search.settings} == {1.0}
    assert [setting["epochs"] for setting in search.settings[:2]] == [20.0, 4.0]
    assert search.settings == short_search(config(), manifest(256, 6774), 3).settings


def test_search_without_any_label_has_no_control():
    assert "ft" not in methods(short_search(config(), manifest(0, 900), 3))


def test_search_of_one_layer_matches_no_layers():
    assert methods(short_search(config(), manifest(900), 1)) == ["ft", "kd", "ft", "kd", "kd"]


@pytest.mark.parametrize(
    "options", [{}, {"precision": "float32", "seed": 7, "max_steps": 3, "class_weights": "balanced"}]
)
def test_space_is_one_that_sweep_reads(options, tmp_path):
    search = short_search(config(**options), manifest(900), 2)
    path = tmp_path / "space.toml"
    path.write_text(search.toml())
    space = read_space(str(path), "data/rows")
    expected = [{"cache": "data/rows", "student_layers": 2, **options, **setting} for setting in search.settings]
    assert list(space.settings()) == expected
    assert tomllib.loads(search.toml())["student_layers"] == 2


def test_name_of_a_search_says_what_it_tries():
    search = short_search(config(), manifest(900), 2)
    assert search.name == short_search(config(), manifest(900), 2).name and search.name.startswith("2-")
    others = [short_search(config(seed=1), manifest(900), 2), short_search(config(epochs=1.0), manifest(900), 2)]
    assert len({search.name, *(other.name for other in others)}) == 3


@pytest.mark.parametrize(
    "rows, teacher, student", [(10, 20, 20), (256, 20, 20), (1024, 5, 5), (100_000, 3, 4), (0, 20, 20)]
)
def test_few_rows_are_passed_more_often(rows, teacher, student):
    assert epochs(config(), rows, FinetuneTeacherConfig) == teacher
    assert epochs(config(), rows, TrainStudentConfig) == student
    assert epochs(config(epochs=1.5), rows, TrainStudentConfig) == 1.5
