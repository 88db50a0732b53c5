"""The package as `pip install .` leaves it, without extras: the command is there and says what it lacks."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from importlib.metadata import version
from pathlib import Path

import pytest

from .archive import unpack_archive


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment into which the package was installed alone."""
    folder = tmp_path_factory.mktemp("bare")
    unpack_archive(folder / "source")
    venv.create(folder / "env", symlinks=os.name != "nt")
    found = folder / "env" / ("Scripts" if os.name == "nt" else "bin")
    install = [sys.executable, "-m", "pip", "--python", found / "python", "install", "--no-compile", folder / "source"]
    done = subprocess.run(install, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return found


def called(folder: Path, *command: str | Path) -> tuple[int, str, str]:
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=folder, env=clean, capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("arguments", [[], ["demo"], ["--version"]], ids=["alone", "demo", "version"])
def test_the_command_says_which_extra_to_install(programs: Path, arguments: list[str]):
    for command in ([programs / "magcache"], [programs / "python", "-m", "magcache"]):
        status, out, errors = called(programs, *command, *arguments)
        assert (status, out) == (2, "") and errors.endswith('is not installed. Run: pip install "magcache[cli]"\n')


def test_the_version_is_that_of_the_metadata(programs: Path):
    code = "import importlib.metadata, magcache; print(importlib.metadata.version('magcache'), magcache.__version__)"
    assert called(programs, programs / "python", "-c", code)[1].split() == [version("magcache")] * 2


def test_a_clone_that_is_not_installed_is_named_by_its_folder(programs: Path, tmp_path: Path):
    """The last test: it removes the package and leaves what it needs."""
    unpack_archive(tmp_path)
    removed = called(tmp_path, sys.executable, "-m", "pip", "--python", programs / "python", "uninstall", "--yes", "magcache")
    assert removed[0] == 0, removed[2]
    status, out, errors = called(tmp_path, programs / "python", "-m", "magcache", "--version")
    assert (status, out) == (2, "") and errors.endswith(f'is not installed. Run: pip install "{tmp_path}[cli]"\n')
