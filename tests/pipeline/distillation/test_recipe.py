"""Recipes: which options apply to a method, and the objective that they give."""

import pytest

from pipeline.cache.open import open_cache
from pipeline.config.methods import METHODS
from pipeline.config.training import TrainStudentConfig
from pipeline.data.task_kinds import REGRESSION, SINGLE_LABEL
from pipeline.distillation.recipe import not_applicable, resolve_recipe, training_set, training_split
from pipeline.errors import BadOption


@pytest.mark.parametrize(
    ("method", "kind", "names"),
    [
        ("ft", SINGLE_LABEL, {"alpha", "temperature", "reduction", "beta"}),
        ("kd", SINGLE_LABEL, {"beta"}),
        ("pkd-skip", SINGLE_LABEL, set()),
        ("ft", REGRESSION, {"alpha", "temperature", "reduction", "beta"}),
        ("kd", REGRESSION, {"beta", "temperature", "reduction"}),
        ("pkd-last", REGRESSION, {"temperature"}),
    ],
)
def test_options_that_do_not_apply(method, kind, names):
    assert set(not_applicable(METHODS[method], kind)) == names


def test_options_without_meaning_do_not_change_the_recipe(tiny):
    manifest = open_cache(tiny.arrow).manifest
    one, two = (
        resolve_recipe(TrainStudentConfig(cache=str(tiny.arrow), method="kd", beta=beta), manifest) for beta in (1, 100)
    )
    assert one.digest == two.digest and one.options["beta"] is None
    assert one.objective.columns == ("logits",) and one.objective.numbers == (("alpha", 0.5), ("temperature", 5.0))


def test_recipe_of_pkd_reads_the_columns_of_its_layers(tiny):
    config = TrainStudentConfig(cache=str(tiny.arrow), student_layers=3)
    recipe = resolve_recipe(config, open_cache(tiny.arrow).manifest)
    assert recipe.layers == (1, 2) and recipe.objective.columns == ("logits", "cls_01", "cls_02")
    assert recipe.alike_in_pack["student_layers"] == 3


def test_transfer_examples_are_not_asked_of_a_cache_without_any(tiny):
    cache = open_cache(tiny.arrow)
    recipe = resolve_recipe(TrainStudentConfig(cache=str(tiny.arrow), max_transfer_examples=5), cache.manifest)
    with pytest.raises(BadOption, match=r"does not have a transfer split. Leave --max-transfer-examples out"):
        training_set(recipe, training_split(cache, recipe.objective))
