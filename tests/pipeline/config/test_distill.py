import pytest

from pipeline.config.distill import DistillConfig
from pipeline.errors import BadOption


@pytest.mark.parametrize(
    "place, task",
    [
        ("reviews.csv", "reviews"),
        ("a/reviews-train.csv.gz", "reviews"),
        ("reviews/train.csv", "reviews"),
        ("s3://bucket/x y/train-*.jsonl", "x-y"),
        ("part-*.parquet", "part"),
        ("train.csv", "rows"),
        ("отзывы.csv", "rows"),
        ("trainers.csv", "trainers"),
    ],
)
def test_task_is_named_after_the_training_file(place, task):
    assert DistillConfig(train_file=place).task == task
    assert DistillConfig(train_file=(place, "more.csv")).task == task
    assert DistillConfig(train_file=place, task="mine").task == "mine"


def test_task_is_named_after_the_data_set():
    assert DistillConfig(dataset="someone/my.data:plain").task == "my"


@pytest.mark.parametrize(
    "options, error",
    [
        (
            {"train_file": None},
            "no rows to train on: give --train-file FILE --text-columns A --label-column C, or a --task of the "
            "program, for example movie-reviews",
        ),
        (
            {"student_layers": 2, "budget_ms": 5.0},
            "--student-layers and --budget-ms: both say how deep the student is. Leave one of them out",
        ),
        (
            {"model": "demo", "teacher": "runs/t"},
            "--model and --teacher: --model is fine-tuned to be the teacher, and --teacher is one already. Leave one "
            "of them out",
        ),
        ({"label_map": "a,b"}, "--label-map is for a --teacher that you name. Leave it out"),
        ({"budget_ms": 0.0}, "--budget-ms must be a number above 0, not 0.0. Leave it out for the default"),
        ({"trials": 9}, "--trials must be a number from 1 to 8, not 9. Try --trials 8"),
    ],
)
def test_options_that_do_not_fit_together_are_refused(options, error):
    with pytest.raises(BadOption) as refused:
        DistillConfig(**{"train_file": "rows.csv"} | options)
    assert str(refused.value) == error
