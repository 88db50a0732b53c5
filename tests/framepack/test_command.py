"""`magcache framepack` refuses what is not there, before anything large is loaded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from magcache.cli.main import app

HERE = str(Path(__file__).parent)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--weights", "/no/such/folder"], "/no/such/folder does not exist"),
        (["--weights", ""], "does not exist"),
        (["--weights", HERE], "neither a model_index.json nor a config.json"),
        (["--weights", HERE, "--base", "/no/such/folder"], "/no/such/folder does not exist. Give a folder with the text encoders"),
        (["--weights", HERE, "--vision", "/no/such/folder"], "/no/such/folder does not exist. Give a folder with the picture encoder"),
        (["--base", HERE], "--base (text encoders and VAE) belongs to real weights"),
        (["--vision", HERE], "--vision (picture encoder) belongs to real weights"),
    ],
)
def test_a_wrong_path_is_an_error_of_use(arguments: list[str], said: str):
    # Where no video can be kept, so that a command that accepts them ends too, but with another exit status.
    result = CliRunner().invoke(app, ["framepack", "--out", __file__, *arguments])
    assert result.exit_code == 2 and isinstance(result.exception, SystemExit)
    assert said in " ".join(result.stderr.split()) and "Traceback" not in result.output


def test_it_is_refused_before_anything_large_is_imported(tmp_path: Path):
    code = (
        "import sys\nfrom magcache.cli.main import app\n"
        "try: app(['framepack', '--weights', '/no/such/folder', '--out', 'videos'])\n"
        "except SystemExit as end: print(end.code, *{'torch', 'diffusers', 'gradio', 'transformers'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert done.stdout.split() == ["2"] and list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name in ("GRADIO_ANALYTICS_ENABLED", "GRADIO_TEMP_DIR"):
        monkeypatch.setenv(name, "")  # What the command sets is put back afterwards.
    (tmp_path / "file").write_text("")
    result = CliRunner().invoke(app, ["framepack", "--out", str(tmp_path / "file")])
    assert result.exit_code == 1 and "--out" in result.stderr and isinstance(result.exception, SystemExit)


@pytest.mark.parametrize("port", ["0", "70000", "many"])
def test_a_port_must_be_one(port: str):
    assert CliRunner().invoke(app, ["framepack", "--port", port]).exit_code == 2
