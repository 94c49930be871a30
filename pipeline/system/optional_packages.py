"""Packages that an extra of this project installs."""

import importlib.util
from pathlib import Path

from pipeline.errors import MissingExtra


def package_directory(module: str, package: str, needed_by: str, extra: str) -> Path:
    """Return the directory of an installed package without importing it. Raises `MissingExtra` naming the extra."""
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtra(f"{needed_by} needs the package {package}: pip install '.[{extra}]'")
    return Path(spec.submodule_search_locations[0])
