"""Calling the command line in this process."""

from __future__ import annotations

from typer.testing import CliRunner

from magcache.cli.main import app

runner = CliRunner()


def run(*arguments: str) -> str:
    """Call a command that succeeds; returns what it prints."""
    result = runner.invoke(app, list(arguments))
    assert result.exit_code == 0, result.output
    return result.stdout


def refused(*arguments: str, status: int = 1) -> str:
    """Call a command that refuses without a traceback; returns its message in one line. Status 2: it was called wrongly."""
    result = runner.invoke(app, list(arguments))
    assert result.exit_code == status, result.output
    assert result.stdout == "" or "{" in result.stdout or status == 1
    assert isinstance(result.exception, SystemExit)
    return " ".join(result.stderr.split())
