"""Two finished sweeps of one space."""

import pytest


@pytest.fixture
def sweeps(tiny, in_directory, call):
    space = 'precision = "float32"\nepochs = 1\nlr = [1e-4, 1e-3]\nbeta = [100, 1000]\n'
    (in_directory / "space.toml").write_text(space)
    for name in ("grid", "halving"):
        words = ["--cache", tiny.arrow, "--space", "space.toml", "--strategy", name, "--out", f"sweeps/{name}"]
        assert call("sweep", *words).code == 0
    return in_directory
