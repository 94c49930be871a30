"""Templates of pages: values are escaped, on one line, and none may be missing."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from pipeline.system.formatting import printable


def template(directory: Path, name: str) -> Template:
    """Return a template of a directory, which can include the style and the macros beside this module."""
    environment = Environment(
        loader=FileSystemLoader([directory, Path(__file__).parent]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value,
    )
    return environment.get_template(name)
