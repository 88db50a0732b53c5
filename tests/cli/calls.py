"""The command line in this process."""

from __future__ import annotations

from typer.testing import CliRunner

from magcache.cli.main import app

runner = CliRunner()


def run(*arguments: str) -> str:
    """What a command prints that succeeds."""
    result = runner.invoke(app, list(arguments))
    assert result.exit_code == 0, result.output
    return result.stdout


def refused(*arguments: str) -> str:
    """What a command says, in one line, that refuses without a traceback."""
    result = runner.invoke(app, list(arguments))
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    return " ".join(result.stderr.split())
