"""The GitHub workflow: its schema, the Pythons that it names, and that it runs what a contributor runs."""

import subprocess
import sys
import tomllib

import pytest
import yaml

from tests.helpers.paths import ROOT

pytestmark = pytest.mark.process

FILE = ROOT / ".github" / "workflows" / "tests.yml"


def test_workflow_follows_githubs_schema():
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows", str(FILE)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_workflow_runs_make_test_from_the_lowest_python_on():
    job = yaml.safe_load(FILE.read_text())["jobs"]["test"]
    assert job["steps"][-1] == {"run": "make test"}
    requires = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert job["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13", "3.14"] and requires == ">=3.11"
