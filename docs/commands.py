"""Generator of docs/commands.md, the help of every command: `python -m docs.commands` writes the page."""

from collections.abc import Iterator
from pathlib import Path

import click

from cli import main

PAGE = Path(__file__).with_suffix(".md")
PROGRAM = "python cli.py"
WIDTH = 100  # columns, whatever the terminal
HEAD = """# Commands

Generated from the command line by `make docs`; do not edit. `pkd` is the same program as `python cli.py`.
Every command prints one JSON object as its last line on stdout; a mistake ends with one line and exit code 2.
"""


def commands(
    command: click.Command, parent: click.Context | None = None, name: str = PROGRAM
) -> Iterator[click.Context]:
    """Yield a context of the command and of each command below it, in the order of their declaration."""
    context = command.make_context(name, [], parent, resilient_parsing=True, max_content_width=WIDTH)
    context.terminal_width = WIDTH
    yield context
    if isinstance(command, click.Group):
        for child_name, child in command.commands.items():
            yield from commands(child, context, child_name)


def page() -> str:
    """Return the text of docs/commands.md."""
    parts = [HEAD]
    for context in commands(main):
        title = context.command_path.removeprefix(PROGRAM).strip() or PROGRAM
        parts.append(f"## {title}\n\n```text\n{context.get_help().rstrip()}\n```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
