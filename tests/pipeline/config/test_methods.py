"""The table of methods against the tables that it names."""

from pipeline.config.methods import METHOD_CHOICES, METHODS
from pipeline.config.options import marked
from pipeline.config.training import TrainStudentConfig
from pipeline.distillation.layer_map import CUSTOM, LAYER_MAPS
from pipeline.distillation.losses import LOSS_TERMS


def test_terms_and_layer_maps_of_every_method_exist():
    for name, method in METHODS.items():
        assert method.name == name and set(method.terms) <= set(LOSS_TERMS)
        assert method.layer_map in (None, CUSTOM, *LAYER_MAPS)
        assert method.matches_layers is any(LOSS_TERMS[term].by_layer for term in method.terms)


def test_methods_that_an_option_selects():
    assert METHOD_CHOICES == ("ft", "pseudo", "kd", "pkd-skip", "pkd-last")


def test_options_that_a_pack_has_in_common():
    assert set(marked(TrainStudentConfig, "alike_in_pack")) == {
        *("cache", "init", "student_layers", "precision", "batch_size", "grad_accumulation"),
        *("data_seed", "max_train_examples", "max_transfer_examples", "eval_every", "project", "student_config"),
    }
