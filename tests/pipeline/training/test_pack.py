"""Students trained as one model are the students trained alone."""

import warnings
from types import SimpleNamespace

import pytest
import torch

import pipeline.training.pack as pack_module
from pipeline.cache.format.columns import cls_column
from pipeline.config.training import TrainStudentConfig
from pipeline.data.batching import Batch
from pipeline.data.task_kinds import SINGLE_LABEL
from pipeline.distillation.objective import Objective
from pipeline.errors import BadOption
from pipeline.models.accelerator import make_accelerator
from pipeline.models.checkpoints import build_classifier
from pipeline.training.learner import EncoderLearner, Part
from pipeline.training.pack import PackLearner
from tests.helpers.encoders import ARCHITECTURES, MODELS

pytestmark = pytest.mark.trains

STEPS, TEACHER_LAYERS = 20, 3
PKD = ("label", "logit", "patience")
SKIP = Objective(SINGLE_LABEL, PKD, (1, 2), "reference", (("alpha", 0.5), ("temperature", 5.0), ("beta", 100.0)))
LAST = Objective(SINGLE_LABEL, PKD, (2, 3), "paper", (("alpha", 0.2), ("temperature", 10.0), ("beta", 10.0)))
KD = Objective(SINGLE_LABEL, ("label", "logit"), numbers=(("alpha", 0.7), ("temperature", 20.0)))
FT = Objective(SINGLE_LABEL)
STUDENTS = [
    (SKIP, dict(lr=1e-3, warmup=0.1, seed=1)),
    (KD, dict(lr=3e-4, warmup=0.5, seed=2)),
    (LAST, dict(lr=5e-4, weight_decay=0.1)),
    (FT, dict(lr=2e-3, warmup=0.0)),
]
NO_DROPOUT = dict(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
OF_DISTILBERT = dict(dropout=0.0, attention_dropout=0.0, seq_classif_dropout=0.0)


def learners(accelerator, kind="bert", students=STUDENTS, layers=3, dropout=False):
    """One for each of `students`, all with the same first weights."""
    config_class, sizes = ARCHITECTURES[kind]
    depth = {"n_layers" if kind == "distilbert" else "num_hidden_layers": layers}
    off = {} if dropout else OF_DISTILBERT if kind == "distilbert" else NO_DROPOUT
    found = []
    for objective, options in students:
        torch.manual_seed(0)
        model = build_classifier(config_class(**sizes | depth | off))
        found.append(EncoderLearner(model, objective, TrainStudentConfig(cache="c", **options), accelerator, 0))
    return found


def part(number, columns, weight=1.0, examples=6):
    """Return a batch with these target columns; a function of its number."""
    draw = torch.Generator().manual_seed(number)
    lengths = torch.randint(3, 12, (examples,), generator=draw)
    mask = torch.arange(int(lengths.max())) < lengths[:, None]
    ids = torch.randint(0, 32, mask.shape, generator=draw) * mask  # 0, the padding, stands inside too
    labels = torch.randint(0, 2, (examples,), generator=draw)
    logits = torch.randn(examples, 2, generator=draw)
    cls = torch.randn(examples, TEACHER_LAYERS, 32, generator=draw)
    every = {"logits": logits} | {cls_column(layer): cls[:, layer - 1] for layer in range(1, TEACHER_LAYERS + 1)}
    inputs = {"input_ids": ids, "attention_mask": mask.long()}
    return Part(Batch(SimpleNamespace(), (), inputs, labels), {name: every[name] for name in columns}, weight)


def largest_difference(learner, other):
    """Of weights and both moments of AdamW."""
    one, two = learner.state(), other.state()
    assert one.keys() == two.keys() and len(one) > 90
    return max(float((one[name] - two[name]).abs().max()) for name in one)


@pytest.mark.parametrize("kind", MODELS)
def test_packed_is_alone(kind):
    accelerator = make_accelerator("float32")
    alone, packed = learners(accelerator, kind), learners(accelerator, kind)
    pack = PackLearner(packed)
    assert set(pack.columns) == {"logits", "cls_01", "cls_02", "cls_03"}
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # of vmap, where it has no rule and loops over the students
        for step in range(STEPS):
            rows = pack.step([part(step, pack.columns)], step, STEPS)
            for learner, row in zip(alone, rows, strict=True):
                expected = learner.step([part(step, learner.columns)], step, STEPS)
                torch.testing.assert_close(row, expected, rtol=1e-4, atol=1e-5)
    assert [largest_difference(*pair) < 1e-5 for pair in zip(alone, packed, strict=True)] == [True] * 4
    assert largest_difference(packed[0], packed[2]) > 1e-3  # and they differ from each other


def test_architecture_that_vmap_cannot_batch_is_refused():
    with pytest.raises(BadOption, match=r"^students of type longformer cannot be trained as a pack\. Train them apart"):
        PackLearner(learners(make_accelerator("float32"), "longformer", STUDENTS[1:2] * 2, layers=4, dropout=True))


def test_accumulated_batches_count_by_their_shares():
    accelerator = make_accelerator("float32")
    alone, packed = learners(accelerator), learners(accelerator)
    pack = PackLearner(packed)
    for step in range(4):
        rows = pack.step(
            [part(2 * step, pack.columns, 0.75), part(2 * step + 1, pack.columns, 0.25, examples=2)], step, 4
        )
        for learner, row in zip(alone, rows, strict=True):
            both = [part(2 * step, learner.columns, 0.75), part(2 * step + 1, learner.columns, 0.25, examples=2)]
            assert float(row[0]) == pytest.approx(float(learner.step(both, step, 4)[0]), rel=1e-5)
    assert [largest_difference(*pair) < 1e-5 for pair in zip(alone, packed, strict=True)] == [True] * 4


def test_a_pack_that_is_left_and_joined():
    """All four, then two of them and another by itself, then three: each is where it is alone."""
    accelerator = make_accelerator("float32")
    alone, packed = learners(accelerator), learners(accelerator)
    for step, groups in enumerate([[[0, 1, 2, 3]]] * 3 + [[[3, 1], [0]]] * 3 + [[[0, 1, 3]]] * 3):
        for group in groups:
            pack = PackLearner([packed[place] for place in group])
            pack.step([part(step, pack.columns)], step, STEPS)
            for place in group:
                alone[place].step([part(step, alone[place].columns)], step, STEPS)
    differences = [largest_difference(*pair) for pair in zip(alone, packed, strict=True)]
    assert max(differences) < 1e-5
    frozen, _ = packed[2].state(), packed[0].step([part(9, packed[0].columns)], 9, STEPS)
    assert all(torch.equal(a, b) for a, b in zip(frozen.values(), packed[2].state().values(), strict=True))


def test_one_layer_has_no_cls_to_match():
    accelerator = make_accelerator("float32")
    students = [STUDENTS[1], STUDENTS[3]]
    alone, packed = (
        learners(accelerator, students=students, layers=1),
        learners(accelerator, students=students, layers=1),
    )
    pack = PackLearner(packed)
    for step in range(3):
        pack.step([part(step, pack.columns)], step, 3)
        for learner in alone:
            learner.step([part(step, learner.columns)], step, 3)
    pairs = zip(alone, packed, strict=True)
    assert all(torch.allclose(a.bare.classifier.weight, b.bare.classifier.weight, atol=1e-5) for a, b in pairs)


@pytest.mark.parametrize("kind", ["bert", "mpnet"])
def test_dropout_is_another_for_each_student_and_the_same_again(kind):
    accelerator = make_accelerator("float32")

    def trained(seed=0):
        packed = learners(accelerator, kind, [(SKIP, dict(lr=1e-3, warmup=0.0, seed=seed))] * 3, dropout=True)
        pack = PackLearner(packed)
        rows = [pack.step([part(step, pack.columns)], step, STEPS) for step in range(2)]
        return packed, rows

    packed, rows = trained()
    assert len({float(row[0]) for row in rows[0]}) == 3  # equal students, told apart by their masks alone
    again, repeated = trained()
    assert all(torch.equal(a, b) for step in zip(rows, repeated, strict=True) for a, b in zip(*step, strict=True))
    assert largest_difference(packed[0], again[0]) == 0
    _, seeded = trained(seed=1)
    assert {float(row[0]) for row in seeded[0]}.isdisjoint(float(row[0]) for row in rows[0])


def test_a_gradient_that_is_not_finite_stays_with_its_student():
    accelerator = make_accelerator("float32")
    alone, packed = learners(accelerator), learners(accelerator)
    for learners_ in (alone, packed):
        learners_[2].bare.classifier.weight.data.fill_(float("nan"))
    pack = PackLearner(packed)
    for step in range(3):
        rows = pack.step([part(step, pack.columns)], step, STEPS)
        for learner in alone:
            learner.step([part(step, learner.columns)], step, STEPS)
    assert [bool(torch.isfinite(row[0])) for row in rows] == [True, True, False, True]
    assert [largest_difference(alone[place], packed[place]) < 1e-5 for place in (0, 1, 3)] == [True] * 3


def test_a_pack_in_bfloat16_is_proved_in_float32(monkeypatch):
    monkeypatch.setattr(pack_module, "_proved", set())
    monkeypatch.setattr(pack_module, "PROBE_TOLERANCE", 1e-6)
    PackLearner(learners(make_accelerator("bfloat16")))


def test_in_bfloat16_they_differ_by_its_rounding():
    accelerator = make_accelerator("bfloat16")
    alone, packed = learners(accelerator), learners(accelerator)
    pack = PackLearner(packed)
    for step in range(3):
        rows = pack.step([part(step, pack.columns)], step, STEPS)
        for learner, row in zip(alone, rows, strict=True):
            expected = learner.step([part(step, learner.columns)], step, STEPS)
            assert float(row[0]) == pytest.approx(float(expected[0]), rel=2e-2)
            assert float(row[-1]) == pytest.approx(float(expected[-1]), rel=5e-2)  # the norm of the gradient


def test_students_of_other_shapes_are_refused():
    accelerator = make_accelerator("float32")
    mixed = [*learners(accelerator, students=STUDENTS[:1]), *learners(accelerator, students=STUDENTS[1:2], layers=2)]
    with pytest.raises(BadOption) as caught:
        PackLearner(mixed)
    assert str(caught.value) == "students of a pack have one shape, and these differ in theirs. Train them apart"
