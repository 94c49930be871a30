"""Searches by `bayes` that are interrupted, or propose what does not fit."""

import optuna
from optuna.pruners import SuccessiveHalvingPruner
from optuna.trial import TrialState

from pipeline.config.sweep import SweepConfig
from stages.sweep.search.bayes import bayes
from stages.sweep.search.record import FAILED
from stages.sweep.search.space import Space
from stages.sweep.search.study import Study
from stages.sweep.search.trials import Trials
from tests.helpers.sweeps import run_sweep


def study_in(directory):
    directory.mkdir(exist_ok=True)
    return Study(directory, write=True)


def test_bayes_resumes_with_its_pruner_and_fails_proposals_without_a_key(tiny, tmp_path):
    space = Space({"cache": str(tiny.arrow), "method": "kd"}, {"lr": (1e-3, 2e-3, 5e-3)})
    study = study_in(tmp_path / "s")
    proposed = next(bayes(study, Trials(SweepConfig()), space, 2, 0, 1)).trials
    study.study.ask({"lr": optuna.distributions.CategoricalDistribution((1e-3, 2e-3, 5e-3))})  # killed before its key
    study = study_in(tmp_path / "s")
    wave = next(bayes(study, Trials(SweepConfig()), space, 2, 0, 1))
    assert [trial.key for trial in wave.trials] == [trial.key for trial in proposed]
    assert isinstance(study.study.pruner, SuccessiveHalvingPruner)
    assert [trial.state for trial in study.trials()] == [TrialState.RUNNING, TrialState.FAIL]
    study.end(proposed[0].key, FAILED, error="x")
    study = study_in(tmp_path / "s")
    wave = next(bayes(study, Trials(SweepConfig()), space, 1, 0, 1, retry_failed=True))
    assert [trial.key for trial in wave.trials] == [trial.key for trial in proposed]


def test_a_proposal_that_does_not_fit_is_left_out(tiny, call, in_directory):
    space = 'method = ["kd", "pkd-skip"]\nstudent_layers = [2, 1]\nmax_steps = 9\nprecision = "float32"\n'
    found = run_sweep(call, tiny, "bayes", "b", "--trials", "3", space=space)
    assert 1 <= found["trials"] <= 3 and found["failed"] == 0
