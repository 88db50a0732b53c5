"""The floor plan: which folder may import which, and how large a file may be."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MOST_LINES = 300
FOLDERS = ("cli", "comfyui", "curves", "demo", "diffusers", "framepack", "planning", "reports", "runtime", "server")


def test_imports_keep_to_the_layers():
    """The contracts are in pyproject.toml, [tool.importlinter]."""
    code = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_module_of_the_package_is_in_a_folder_of_the_floor_plan():
    inside = {path.name for path in (ROOT / "magcache").iterdir() if path.name != "__pycache__"}
    assert inside == {*FOLDERS, "__init__.py", "__main__.py", "documents.py", "errors.py", "py.typed", "settings.py", "texts.py"}


@pytest.mark.parametrize("folder", ["magcache", "benchmarks", "tools"])
def test_no_file_is_too_long(folder: str):
    lines = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in (ROOT / folder).rglob("*.py")}
    assert {name: count for name, count in lines.items() if count > MOST_LINES} == {}


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_module_says_what_it_is_for(folder: str):
    texts = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "magcache" / folder).rglob("*.py")}
    assert texts and [name for name, text in texts.items() if ast.get_docstring(ast.parse(text)) is None] == []
