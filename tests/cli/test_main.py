"""The command line as a whole."""

from __future__ import annotations

import subprocess
import sys

from .calls import run


def test_every_command_is_there():
    found = run("--help")
    assert all(name in found for name in ("curves", "models", "plan", "demo", "bench", "calibrate", "tune", "import", "export"))


def test_commands_import_what_they_need_when_they_are_called():
    """So that `magcache plan` works where only the extra `cli` is installed."""
    code = "import sys, magcache.cli.main; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "httpx", "websocket", "optuna", "matplotlib", "PIL", "scipy"} & set(loaded)
