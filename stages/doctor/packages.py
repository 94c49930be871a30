"""Python and the packages: against the versions that this project asks for, and that the packages ask of each other."""

import importlib
import importlib.metadata
import platform
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from stages.doctor.checks import NOTE, OK, PROBLEM, Check

PROJECT = "pkd-distill"
EXTRAS = {  # extra of pyproject.toml -> what it is for
    "demo": "quickstart and make demo",
    "onnx": "export --format onnx and --quantize int8",
    "track": "--track tensorboard and mlflow",
    "s3": "caches at s3://…",
    "gcs": "caches at gs://…",
    "ray": "--engine ray",
    "peers": "benchmark peers",
}
OF_TRACK = ("wandb", "trackio")  # trackers that no extra installs
ALSO_IMPORTED = ("torchvision", "torchaudio")  # by transformers, where they are installed
IMPORTED = (  # damaged ones, or those of another Python, fail then; torch has a check of its own
    *("numpy", "pyarrow", "h5py", "safetensors", "tokenizers", "scipy", "psutil"),
    *("fsspec", "huggingface_hub", "jinja2", "platformdirs", "rich", "tqdm"),
)
REINSTALL = "pip install --force-reinstall -c constraints.txt"


def packages() -> Iterator[Check]:
    """Yield a check of Python, and one of all required packages, or one for each that does not fit."""
    project = _project()
    python, wanted = ".".join(platform.python_version_tuple()[:2]), str(project.get("requires-python", ">=3.11"))
    fits = _specifier(wanted).contains(python, prereleases=True)
    advice = f"Make an environment with Python {wanted}: make test PYTHON=python3.11"
    yield Check("python", OK if fits else PROBLEM, f"{python}, {wanted} is required", None if fits else advice)
    required = project.get("dependencies", [])
    bad = [*_missing_or_old(required, "this program"), *_conflicts(required), *_damaged()]
    yield from bad or [Check("packages", OK, f"all {len(required)} required packages, in versions that fit together")]


def extras() -> Iterator[Check]:
    """Yield a check for each extra of the project."""
    optional = _project().get("optional-dependencies", {})
    for extra, use in EXTRAS.items():
        bad = [check.found for check in _missing_or_old(optional.get(extra, []), "")]
        advice = f"For {use}: pip install -c constraints.txt '.[{extra}]'" if bad else None
        yield Check(f"extra {extra}", NOTE if bad else OK, ", ".join(bad) or f"installed: {use}", advice)
    absent = [name for name in OF_TRACK if _version(name) is None]
    advice = f"For --track {absent[0]}: pip install {absent[0]}" if absent else None
    yield Check(
        "trackers", OK, ", ".join(f"{name} {_version(name) or 'is not installed'}" for name in OF_TRACK), advice
    )


def _project() -> dict[str, Any]:
    """Return the [project] table of this checkout; of the installed program where there is none."""
    file = Path(__file__).parents[2] / "pyproject.toml"
    if file.is_file():
        return dict(tomllib.loads(file.read_text(encoding="utf-8"))["project"])
    metadata = importlib.metadata.metadata(PROJECT)
    parsed = [_requirement(text) for text in metadata.get_all("Requires-Dist") or []]
    by_extra = {
        extra: [_bare(r) for r in parsed if r.marker and r.marker.evaluate({"extra": extra})] for extra in EXTRAS
    }
    required = [_bare(r) for r in parsed if not r.marker or r.marker.evaluate({"extra": ""})]
    return {
        "requires-python": metadata["Requires-Python"],
        "dependencies": required,
        "optional-dependencies": by_extra,
    }


def _missing_or_old(required: Iterable[str], needed_by: str) -> Iterator[Check]:
    """Yield a problem for each of these requirements that is not met."""
    for text in required:
        requirement = _requirement(text)
        version = _version(requirement.name)
        if version is not None and requirement.specifier.contains(version, prereleases=True):
            continue
        state = "is not installed" if version is None else f"is {version}"
        wanted = f", {needed_by} needs {requirement.name}{requirement.specifier}" if needed_by else ""
        yield Check("packages", PROBLEM, f"{requirement.name} {state}{wanted}", _install(text))


def _conflicts(required: Iterable[str]) -> Iterator[Check]:
    """Yield a problem for each installed package of another version than a package that is used here asks for."""
    waiting = [*(_requirement(text).name for text in required), *ALSO_IMPORTED]
    visited: set[str] = set()
    while waiting:
        name = _canonical(waiting.pop())
        if name in visited or _version(name) is None:
            continue
        visited.add(name)
        for text in importlib.metadata.requires(name) or []:
            requirement = _requirement(text)
            if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
                continue
            waiting.append(requirement.name)
            version = _version(requirement.name)
            if version is None or not requirement.specifier.contains(version, prereleases=True):
                yield from _missing_or_old([_bare(requirement)], f"{name} {_version(name)}")


def _damaged() -> Iterator[Check]:
    """Yield a problem for each of these packages that is installed and cannot be imported."""
    for name in IMPORTED:
        if _version(name) is None:
            continue
        try:
            importlib.import_module(name)
        except Exception as error:  # of another Python, or built for another version of numpy
            fact = f"{name} {_version(name)} cannot be imported ({type(error).__name__}: {error})"
            yield Check("packages", PROBLEM, fact, f"{REINSTALL} {name}")


def _install(requirement: str) -> str:
    return f"pip install -c constraints.txt '{requirement}'"


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _requirement(text: str) -> Any:
    from packaging.requirements import Requirement  # comes with accelerate and transformers

    return Requirement(text)


def _bare(requirement: Any) -> str:
    return f"{requirement.name}{requirement.specifier}"


def _specifier(text: str) -> Any:
    from packaging.specifiers import SpecifierSet

    return SpecifierSet(text)


def _canonical(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")
