import pytest

from pipeline.config.distill import DistillConfig
from pipeline.errors import BadOption, BadRows, MissingExtra
from stages.distill import check
from stages.distill.check import check_rows, chosen_model
from tests.helpers.encoders import save_pretrained_encoder
from tests.helpers.rows import write_rows


@pytest.fixture
def config(in_directory):
    write_rows(in_directory / "train.csv", 20, 1)
    write_rows(in_directory / "dev.csv", 8, 2)
    save_pretrained_encoder(in_directory / "encoder")
    columns = {"text_columns": "text", "label_column": "label"}
    return lambda **options: DistillConfig(**{"train_file": "train.csv", "dev_file": "dev.csv"} | columns | options)


def test_labelled_training_rows_are_counted(config):
    assert check_rows(config(), "encoder") == 20


def test_rows_without_any_label_cannot_train_a_teacher(config, in_directory):
    (in_directory / "train.csv").write_text("text,label\ngood,\nbad,\n")
    with pytest.raises(BadRows, match="label"):
        check_rows(config(), "encoder")


def test_model_is_the_packaged_one_where_it_is_installed(config, monkeypatch):
    monkeypatch.setattr(check, "locate", lambda name: name)
    assert chosen_model(config()) == "demo"
    assert chosen_model(config(model="encoder")) == "encoder" and chosen_model(config(teacher="runs/t")) is None


def test_model_is_asked_for_where_none_is_installed(config, monkeypatch):
    def absent(name):
        raise MissingExtra("--model demo needs the package x: pip install '.[demo]'")

    monkeypatch.setattr(check, "locate", absent)
    with pytest.raises(BadOption) as refused:
        chosen_model(config())
    assert str(refused.value) == (
        "no teacher, and no encoder to make one of: name one, for example --model bert-base-uncased, or a --teacher "
        "(--model demo needs the package x: pip install '.[demo]')"
    )
