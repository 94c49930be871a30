"""Warm-up, calls and limits of a measurement, by a clock that the test moves."""

import pytest
import torch

from pipeline.inference.latency import measure_latency, single_example_latency
from pipeline.models.checkpoints import build_classifier
from tests.helpers.encoders import ARCHITECTURES


class Clock:
    """A clock; each call of `work` takes the next of these seconds, the last of them again and again."""

    def __init__(self, *seconds: float):
        self.now, self.seconds, self.calls = 0.0, list(seconds), 0

    def __call__(self) -> float:
        return self.now

    def work(self) -> None:
        self.calls += 1
        self.now += self.seconds.pop(0) if len(self.seconds) > 1 else self.seconds[0]


def test_latency_is_median_and_spread_without_the_warmup():
    clock = Clock(9.0, 9.0, 0.001, 0.004, 0.002)
    found = measure_latency(clock.work, warmup=2, calls=3, clock=clock)
    assert (found.median, found.low, found.high) == pytest.approx((2, 1, 4)) and found.calls == 3


@pytest.mark.parametrize(("seconds", "calls"), [(0.001, 20), (1.0, 5), (100.0, 3)])
def test_slow_calls_are_fewer_but_never_fewer_than_three(seconds, calls):
    clock = Clock(seconds)
    assert measure_latency(clock.work, warmup=0, calls=20, seconds=5.0, clock=clock).calls == calls == clock.calls


@pytest.mark.parametrize("kind", ["bert", "roberta", "distilbert"])
def test_single_example_is_one_row_within_the_positions(kind):
    config_class, sizes = ARCHITECTURES[kind]
    model = build_classifier(config_class(**sizes | {"max_position_embeddings": 34}))
    seen: list[dict] = []
    model.register_forward_pre_hook(lambda _model, _args, inputs: seen.append(inputs), with_kwargs=True)
    model.train()
    found = single_example_latency(model, 512, calls=3)
    longest = 33 if kind == "roberta" else 34
    assert found.calls == 3 and 0 < found.low <= found.median <= found.high
    assert len(seen) == 6 and {tuple(value.shape) for inputs in seen for value in inputs.values()} == {(1, longest)}
    assert ("token_type_ids" in seen[0]) == (kind != "distilbert")
    assert model.training and not torch.is_inference_mode_enabled()


def test_single_example_of_a_multiple_choice_model_is_one_question():
    config_class, sizes = ARCHITECTURES["bert"]
    config = config_class(**sizes, num_labels=5)
    config.architectures = ["BertForMultipleChoice"]
    model = build_classifier(config)
    seen: list[dict] = []
    model.register_forward_pre_hook(lambda _model, _args, inputs: seen.append(inputs), with_kwargs=True)
    single_example_latency(model, 16, calls=3)
    assert tuple(seen[0]["input_ids"].shape) == (1, 5, 16)
