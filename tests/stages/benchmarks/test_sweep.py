"""`benchmark sweep`: the sweep that it times is the command's own, and twelve trials are twelve."""

import pytest

from pipeline.config.sweep import SweepConfig
from stages.benchmarks import sweep
from stages.sweep.search.space import read_space
from stages.sweep.search.trials import Trials


def test_space_of_the_benchmark_has_twelve_trials(tiny, tmp_path):
    (tmp_path / "space.toml").write_text(sweep.SPACE)
    settings = read_space(str(tmp_path / "space.toml"), str(tiny.arrow)).settings()
    assert len(Trials(SweepConfig(cache=str(tiny.arrow))).distinct(settings)) == sweep.TRIALS


@pytest.mark.soak
@pytest.mark.process
def test_sweep_runs_the_command_in_a_new_directory(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(sweep, "SPACE", 'precision = "float32"\nalpha = [0.2, 0.7]\n')
    monkeypatch.setattr(sweep, "EPOCHS", 0.5)
    found = sweep.sweep(tiny.arrow, tmp_path / "round-0")
    assert (found["trials"], found["finished"], found["pruned"]) == (2, 1, 1)
    assert 0 < found["training_seconds"] < found["seconds"] and (tmp_path / "round-0" / "runs").is_dir()
    with pytest.raises(RuntimeError, match=r"(?s)^the sweep failed: .*nowhere"):
        sweep.sweep(tmp_path / "nowhere", tmp_path / "round-1")
