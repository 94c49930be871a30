from pathlib import Path

import pytest

from pipeline.config.distill import DistillConfig
from pipeline.errors import BadOption
from stages.distill.places import Places


def test_places_are_those_of_the_program(in_directory):
    places = Places.of_call(DistillConfig(train_file="reviews.csv"))
    assert places.teacher == Path("runs/reviews/teacher") and places.cache == Path("data/reviews")
    assert places.sweep("3-ab") == Path("sweeps/reviews-3-ab") and places.space("3-ab") == Path(
        "sweeps/reviews-3-ab.toml"
    )
    assert not any(in_directory.iterdir())


def test_out_holds_all_places_and_is_marked(in_directory):
    Path("mine").mkdir()
    config = DistillConfig(train_file="reviews.csv", out="mine")
    places = Places.of_call(config)
    assert places.teacher == Path("mine/runs/reviews/teacher") and places.cache == Path("mine/data/reviews")
    mark = Path("mine/distill.json").read_bytes()
    (Path("mine") / "data").mkdir()
    assert Places.of_call(config) == places and Path("mine/distill.json").read_bytes() == mark


def test_out_with_other_contents_is_left_alone(in_directory):
    Path("mine").mkdir()
    Path("mine/thesis.tex").write_text("mine")
    with pytest.raises(BadOption) as refused:
        Places.of_call(DistillConfig(train_file="reviews.csv", out="mine"))
    assert str(refused.value) == (
        "mine exists and was not made by distill. Name another --out, or leave it out to write into runs/, data/ and "
        "their like here"
    )
    assert [path.name for path in Path("mine").iterdir()] == ["thesis.tex"]
