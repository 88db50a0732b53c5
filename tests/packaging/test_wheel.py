"""The wheel, installed in an environment without anything else, away from the repository."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path

import pytest

from magcache import known_curves

from .archive import archived_files, unpack_archive

Call = Callable[..., str]
"""Runs a program with arguments; returns what it prints."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Call:
    """Runs a program of an environment in which the wheel and what its command line needs are installed."""
    folder = tmp_path_factory.mktemp("wheel")
    programs = folder / "env" / ("Scripts" if os.name == "nt" else "bin")
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def called(*command: str | Path) -> str:
        done = subprocess.run(command, cwd=folder, env=clean, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    unpack_archive(folder / "source")
    called(sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", folder, folder / "source")
    (wheel,) = folder.glob("magcache-*.whl")
    venv.create(folder / "env", symlinks=os.name != "nt")
    called(sys.executable, "-m", "pip", "--python", programs / "python", "install", "--no-compile", f"{wheel}[cli]")
    return lambda program, *arguments: called(programs / program, *arguments)


def test_it_imports_without_torch(run: Call):
    place, torch = run("python", "-c", "import importlib.util as i, magcache; print(magcache.__file__, i.find_spec('torch'))").split()
    assert "env" in Path(place).parts and torch == "None"


def test_the_curves_are_there(run: Call):
    known = [curve["name"] for curve in json.loads(run("magcache", "curves", "--json"))]
    assert known == known_curves()


def test_a_plan_is_made(run: Call):
    plan = json.loads(run("magcache", "plan", "--curve", "flux", "--steps", "20", "--speedup", "2", "--json"))
    assert plan["nfe"] == 10 and len(plan["decisions"]) == 20


def test_every_file_of_the_package_comes_along(run: Call):
    code = "import magcache, pathlib; print(pathlib.Path(magcache.__file__).parents[1])"
    packages = Path(run("python", "-c", code).strip())
    assert [file for file in archived_files() if file.parts[0] == "magcache" and not (packages / file).exists()] == []
