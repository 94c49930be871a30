"""docs/commands.md against the command line."""

import dataclasses
import re

import click
import pytest

from cli import main
from docs.commands import PAGE, commands, page
from pipeline.config.options import GROUPS, Options

CONTEXTS = list(commands(main))


def test_page_is_current():
    assert PAGE.read_text(encoding="utf-8") == page(), "docs/commands.md is not current. Run: make docs"


def test_page_does_not_depend_on_the_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    narrow = page()
    monkeypatch.setenv("COLUMNS", "200")
    assert narrow == page()


@pytest.mark.parametrize("context", CONTEXTS, ids=lambda context: context.command_path)
def test_help_names_each_command_and_option_once(context):
    lines = context.get_help().splitlines()
    names = [
        max(param.opts, key=len) for param in context.command.get_params(context) if isinstance(param, click.Option)
    ]
    if isinstance(context.command, click.Group):
        names += context.command.commands
    for name in names:
        assert sum(name in line.split()[:2] for line in lines if re.match(r"  \S", line)) == 1, name


def test_every_group_of_options_is_used():
    def configs(config):
        return [config, *(deeper for child in config.__subclasses__() for deeper in configs(child))]

    used = {
        f.metadata["group"]
        for c in configs(Options)
        if c.__module__.startswith("pipeline.")
        for f in dataclasses.fields(c)
    }
    assert used - {None} == set(GROUPS)
