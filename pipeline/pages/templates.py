"""Templates of pages: values are escaped, on one line, and none may be missing."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from pipeline.system.formatting import printable

HERE = Path(__file__).parent


def template(directory: Path, name: str) -> Template:
    """Return a template of HTML in a directory, which can include the style and the macros beside this module."""
    return _environment(directory, printable, autoescape=True).get_template(name)


def plain_template(directory: Path, name: str, escape: Callable[[str], str]) -> Template:
    """Return a template of another language, in which `escape` makes values safe."""
    return _environment(directory, escape, autoescape=False).get_template(name)


def _environment(directory: Path, escape: Callable[[str], str], autoescape: bool) -> Environment:
    def finalize(value: Any) -> Any:
        return escape(value) if isinstance(value, str) and not isinstance(value, Markup) else value

    return Environment(
        loader=FileSystemLoader([directory, HERE]),
        autoescape=autoescape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=finalize,
    )
