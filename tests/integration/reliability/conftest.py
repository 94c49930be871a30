"""Short in `make test`, long in `make soak`, where every count is written to results/reliability.json."""

import os

import pytest

from pipeline.system.files import read_json, write_json
from pipeline.training.provenance import environment
from tests.helpers.paths import ROOT

SOAK = os.environ.get("PKD_SOAK") == "1"
RESULTS = ROOT / "results" / "reliability.json"


@pytest.fixture(scope="session")
def counts():
    """`counts(short, long)` is how often to do something."""
    return lambda short, long: long if SOAK else short


@pytest.fixture(scope="session")
def record():
    """`record(name, **figures)` keeps what was seen, in the long form only."""

    def keep(name: str, **figures: object) -> None:
        if SOAK:
            there = read_json(RESULTS) if RESULTS.is_file() else {"command": "make soak", "figures": {}}
            there["figures"][name] = figures
            write_json(RESULTS, there | {"environment": environment()})

    return keep
