"""Each contender trains the loss that this project trains, on the batches and in the precision that it is named for."""

import numpy as np
import pytest
import torch
import transformers

from pipeline.cache.format.columns import cls_column
from pipeline.config.methods import METHODS
from pipeline.data.task_kinds import SINGLE_LABEL
from pipeline.distillation.objective import objective_of
from pipeline.errors import MissingExtra
from pipeline.models.encoders import cls_vectors
from stages.benchmarks.contenders.authors_way import authors_way
from stages.benchmarks.contenders.live_training import StudentSetup, collate
from stages.benchmarks.contenders.textbrewer_distiller import textbrewer
from stages.benchmarks.contenders.transformers_trainer import trainer_live

pytestmark = pytest.mark.trains

ALL = [authors_way, trainer_live, textbrewer]
EXAMPLES = 20


def option(dropout: float = 0.0, **options) -> StudentSetup:
    """Six layers to three, 20 examples of 4 to 30 tokens, in float32; weights large enough for losses that matter."""
    config = transformers.BertConfig(
        **dict(hidden_size=32, num_hidden_layers=6, num_attention_heads=2, intermediate_size=64, vocab_size=50),
        **dict(hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout, initializer_range=0.3),
        num_labels=3,
    )
    random = np.random.default_rng(0)
    examples = [random.integers(1, 50, length, np.int32) for length in random.integers(4, 30, EXAMPLES)]
    defaults = dict(batch_size=8, max_length=32, precision="float32", lr=1e-3)
    labels = random.integers(0, 3, EXAMPLES)
    return StudentSetup(config, 3, examples, labels, **defaults | options)


def weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def first_batch(chosen: StudentSetup) -> dict[str, torch.Tensor]:
    rows = [{"input_ids": chosen.examples[i], "labels": chosen.labels[i]} for i in range(8)]
    return collate(rows, 32, chosen)


def own_loss(chosen: StudentSetup, teacher, student, batch) -> tuple[torch.Tensor, torch.Tensor]:
    """This project's loss of a batch, and the mean entropy of the teacher's softened distribution."""
    objective = objective_of(METHODS["pkd-skip"], SINGLE_LABEL, (2, 4), "reference", vars(chosen))
    inputs = {name: tensor for name, tensor in batch.items() if name != "labels"}
    with torch.no_grad(), cls_vectors(teacher, objective.layers) as of_teacher:
        z_t = teacher(**inputs).logits
    with cls_vectors(student, (1, 2)) as of_student:
        z_s = student(**inputs).logits
    targets = {"logits": z_t} | {cls_column(n): cls for n, cls in zip((2, 4), of_teacher, strict=True)}
    loss = objective(z_s, batch["labels"], torch.stack(of_student, 1), targets)[0]
    return loss, torch.distributions.Categorical(logits=z_t / chosen.temperature).entropy().mean()


def gradients(loss: torch.Tensor, model: torch.nn.Module) -> list[torch.Tensor]:
    return list(torch.autograd.grad(loss, list(model.parameters()), materialize_grads=True))


@pytest.mark.parametrize("contender", ALL)
@pytest.mark.parametrize("weighed", [dict(), dict(temperature=2.0, alpha=0.9, beta=3.0)], ids=["usual", "other"])
def test_loss_and_gradients_equal_this_projects(contender, weighed):
    chosen = option(**weighed)
    made, batch = contender(chosen), first_batch(chosen)
    loss, entropy = own_loss(chosen, made.teacher, made.student, batch)
    other = made.loss(batch)
    constant = chosen.alpha * chosen.temperature**2 / 3 * entropy if contender is textbrewer else 0.0
    assert float(other.detach() - constant) == pytest.approx(float(loss.detach()), abs=1e-5)
    for mine, theirs in zip(gradients(loss, made.student), gradients(other, made.student), strict=True):
        torch.testing.assert_close(theirs, mine, rtol=1e-4, atol=1e-6)


def test_contenders_start_from_the_teachers_first_layers():
    made = [contender(option()) for contender in ALL]
    for one in made:
        of_teacher, of_student = weights(one.teacher), weights(one.student)
        assert len({name.split(".")[3] for name in of_student if ".layer." in name}) == 3
        for name, tensor in of_student.items():
            assert torch.equal(tensor, of_teacher[name]) and torch.equal(tensor, made[0].student.state_dict()[name])
        assert one.student.training and not one.teacher.training


@pytest.mark.parametrize("contender", ALL)
def test_each_call_continues_training_and_keeps_the_teacher(contender):
    made = contender(option(dropout=0.1))
    teacher, student = weights(made.teacher), weights(made.student)
    # 8, 8 and 4 examples an epoch. The Trainer's first step of a call is not in its count.
    examples, seconds = made(2)
    assert examples == (12 if contender is trainer_live else 16) and seconds > 0
    after = weights(made.student)
    assert all(not torch.equal(after[name], student[name]) for name in after)
    examples, seconds = made(4)
    expected = {authors_way: 4 + 8 + 8 + 4, trainer_live: 8 + 4 + 8 + 8, textbrewer: 8 + 8 + 4 + 8}[contender]
    assert examples == expected and seconds > 0
    assert all(not torch.equal(after[name], tensor) for name, tensor in made.student.state_dict().items())
    assert all(torch.equal(teacher[name], tensor) for name, tensor in made.teacher.state_dict().items())
    assert not made.teacher.training


def passes(model: torch.nn.Module, widths: set[int], kinds: set[torch.dtype], rows: list[bytes]) -> None:
    """Note of each forward pass: how wide the batch was, what the layers computed in, which examples came first."""

    def before(_module, _inputs, named):
        widths.add(named["input_ids"].shape[1])
        rows.append(named["input_ids"].numpy().tobytes())

    def after(_module, _inputs, output):
        kinds.add(output.dtype)

    model.register_forward_pre_hook(before, with_kwargs=True)
    model.bert.encoder.layer[0].output.dense.register_forward_hook(after)


@pytest.mark.parametrize("contender", ALL)
@pytest.mark.parametrize("of", ["teacher", "student"])
def test_padding_and_precision_match_the_contenders_name(contender, of):
    chosen, widths, kinds, rows = option(precision="bfloat16"), set(), set(), []
    made = contender(chosen)
    passes(getattr(made, of), widths, kinds, rows)
    made(5)
    longest = max(map(len, chosen.examples))
    if contender is trainer_live:
        assert kinds == {torch.bfloat16} and max(widths) == longest < 32 and len(widths) > 1
    else:
        assert kinds == {torch.float32} and widths == {32}


@pytest.mark.parametrize("contender", ALL)
def test_second_call_draws_different_batches(contender):
    widths, kinds, rows = set(), set(), []
    made = contender(option())
    passes(made.teacher, widths, kinds, rows)
    made(1)
    made(1)
    assert len(set(rows)) == len(rows) > 1


def test_collate_pads_and_masks():
    batch = collate(
        [{"input_ids": np.array([2, 5]), "labels": 1}, {"input_ids": np.array([2]), "labels": 0}], 3, option()
    )
    assert batch["input_ids"].tolist() == [[2, 5, 0], [2, 0, 0]]
    assert batch["attention_mask"].tolist() == [[1, 1, 0], [1, 0, 0]]
    assert batch["labels"].tolist() == [1, 0] and all(tensor.dtype == torch.int64 for tensor in batch.values())


@pytest.mark.parametrize("layers", [1, 7])
def test_student_without_a_layer_to_match_is_refused(layers):
    few = option()
    with pytest.raises(ValueError, match=f"^a student of {layers} layers has no layer to match$"):
        StudentSetup(few.teacher_config, layers, few.examples, few.labels)


def test_missing_textbrewer_names_its_extra(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtra) as caught:
        textbrewer(option())
    assert str(caught.value) == "benchmark peers needs the package textbrewer: pip install '.[peers]'"
