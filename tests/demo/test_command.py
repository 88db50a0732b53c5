"""The command `magcache demo`."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from magcache.cli.main import app


def test_a_folder_that_is_no_comfyui_is_refused(tmp_path: Path):
    result = CliRunner().invoke(app, ["demo", "--comfyui", str(tmp_path)])
    assert result.exit_code == 1 and "is not a ComfyUI folder" in result.stderr
