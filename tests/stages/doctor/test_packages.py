"""Packages: missing, too old, in conflict with each other, damaged; each in one line with the pip line."""

import importlib
import importlib.metadata

import pytest

from stages.doctor import packages


@pytest.fixture
def versions(monkeypatch):
    """Return a dictionary of other versions than the installed ones; None: not installed."""
    others: dict[str, str | None] = {}
    installed = importlib.metadata.version

    def version(name):
        value = others.get(name, installed(name) if name not in others else None)
        if value is None:
            raise importlib.metadata.PackageNotFoundError(name)
        return value

    monkeypatch.setattr(importlib.metadata, "version", version)
    return others


def found(checks):
    return [(check.state, check.found, check.advice) for check in checks if check.name == "packages"]


def test_packages_that_fit_are_one_line():
    [(state, text, advice)] = found(packages.packages())
    assert state == "ok" and text.endswith("required packages, in versions that fit together") and advice is None


def test_missing_and_old_packages_are_problems_with_their_pip_lines(versions):
    versions |= {"h5py": None, "accelerate": "1.2.0"}
    lines = found(packages.packages())
    assert (
        "problem",
        "h5py is not installed, this program needs h5py>=3.12",
        "pip install -c constraints.txt 'h5py>=3.12'",
    ) in lines
    assert lines[0][:2] == ("problem", "accelerate is 1.2.0, this program needs accelerate>=1.10")


def test_package_that_another_one_does_not_work_with_is_a_problem(versions):
    versions["tokenizers"] = "0.1.0"
    [(state, text, _)] = found(packages.packages())
    assert state == "problem" and text.startswith("tokenizers is 0.1.0, transformers ") and "needs tokenizers" in text


@pytest.mark.parametrize("package", ["h5py", "huggingface_hub", "tqdm"])
def test_installed_package_that_cannot_be_imported_is_a_problem(monkeypatch, package):
    imported = importlib.import_module

    def broken(name):
        if name == package:
            raise ImportError("built for another numpy")
        return imported(name)

    monkeypatch.setattr(importlib, "import_module", broken)
    [(state, text, advice)] = found(packages.packages())
    assert state == "problem" and "cannot be imported (ImportError: built for another numpy)" in text
    assert advice == f"pip install --force-reinstall -c constraints.txt {package}"


def test_extra_that_is_missing_names_its_pip_line(versions):
    versions["onnxruntime"] = None
    [check] = [check for check in packages.extras() if check.name == "extra onnx"]
    assert (check.state, check.found) == ("note", "onnxruntime is not installed")
    assert check.advice == "For export --format onnx and --quantize int8: pip install -c constraints.txt '.[onnx]'"


def test_every_extra_of_the_project_is_checked():
    assert set(packages.EXTRAS) == set(packages._project()["optional-dependencies"]) - {"test"}


def test_installed_program_without_its_checkout_knows_its_requirements(monkeypatch):
    monkeypatch.setattr(packages.Path, "is_file", lambda path: False)
    project = packages._project()
    assert "click>=8.5" in project["dependencies"] and not any("gcsfs" in text for text in project["dependencies"])
    assert project["optional-dependencies"]["gcs"] == ["gcsfs>=2025.3"] and project["requires-python"] == ">=3.11"
