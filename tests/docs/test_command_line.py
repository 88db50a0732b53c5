"""docs/command_line.md lists every command with every option that it has."""

from __future__ import annotations

import re

import pytest
import typer

from magcache.cli.main import app

from .snippets import DOCS

TEXT = (DOCS / "command_line.md").read_text(encoding="utf-8")
LISTED = {match[1]: match[2] for match in re.finditer(r"^magcache (\w+)(.*)$", TEXT, re.MULTILINE)}
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


def test_every_command_is_listed():
    assert LISTED.keys() == COMMANDS.keys()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_listed(name: str):
    parameters = [each for each in COMMANDS[name].params if each.param_type_name == "option" and "--help" not in each.opts]
    options = {option for each in parameters for option in (*each.opts, *each.secondary_opts) if option.startswith("--")}
    shown = set(re.findall(r"--[\w-]+", LISTED[name]))
    assert {option for option in options if not option.startswith("--no-")} <= shown <= options


@pytest.mark.parametrize("name", COMMANDS)
def test_an_option_stands_in_brackets_unless_it_is_needed(name: str):
    needed = {each.opts[0] for each in COMMANDS[name].params if each.required and each.param_type_name == "option"}
    outside = set(re.findall(r"--[\w-]+", re.sub(r"\[[^\]]*\]", "", LISTED[name])))
    assert outside == needed
