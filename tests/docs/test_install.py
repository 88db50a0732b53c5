"""docs/install.md names every folder that the code writes to, and extras and versions as they are."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from magcache.server.launch import FLOOR, VERSIONS

from .snippets import DOCS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = DOCS.parent
TEXT = (DOCS / "install.md").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
OF_OTHERS = {"GRADIO_ANALYTICS_ENABLED", "GRADIO_TEMP_DIR"}
"""Variables that the code sets for a library."""


def trees() -> Iterator[tuple[Path, ast.Module]]:
    for file in sorted((ROOT / "magcache").rglob("*.py")):
        yield file, ast.parse(file.read_text(encoding="utf-8"))


def constant(node: ast.AST, tree: ast.Module) -> str | None:
    """The text that `node` stands for: a string, or a name of this module that is one."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.Name):
        for each in tree.body:
            if isinstance(each, ast.Assign) and isinstance(each.targets[0], ast.Name) and each.targets[0].id == node.id:
                return constant(each.value, tree)
    return None


def variables() -> set[str]:
    """The environment variables that the code looks at."""
    found: set[str] = set()
    for _, tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("os.environ.get", "os.getenv"):
                found.add(constant(node.args[0], tree) or ast.unparse(node))
            elif isinstance(node, ast.Subscript) and ast.unparse(node.value) == "os.environ":
                found.add(constant(node.slice, tree) or ast.unparse(node))
    return found - OF_OTHERS


def places() -> set[str]:
    """Parts of paths that the code makes: below the home folder, by default of an option, or beside a workflow."""
    found: set[str] = set()
    for file, tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.BinOp) and "Path.home()" in ast.unparse(node):
                found |= {each.value for each in ast.walk(node) if isinstance(each, ast.Constant) and isinstance(each.value, str)}
            if file.parent.name != "cli" or not isinstance(node, ast.Call):
                continue
            if ast.unparse(node.func) == "Path" and isinstance(node.args[0], ast.Constant):
                found.add(str(node.args[0].value))
            elif ast.unparse(node.func).endswith(".with_suffix"):
                found.add(ast.literal_eval(node.args[0]))
    return found


def test_every_place_that_the_code_writes_to_is_named():
    assert {".cache", "magcache-demo", "framepack-videos", ".bench"} <= places(), "the search finds what is known to be there"
    assert sorted(place for place in places() if place not in TEXT) == []


def test_every_variable_that_moves_one_is_named():
    assert {"MAGCACHE_CURVES", "XDG_CACHE_HOME"} <= variables()
    assert sorted(name for name in variables() if name not in TEXT) == []


def test_every_extra_is_there_and_every_one_for_users_is_named():
    named = set(re.findall(r"\.\[(\w+)\]", TEXT))
    assert named == PROJECT["optional-dependencies"].keys() - {"bench", "dev", "docs"}


def test_versions_are_those_that_are_tested():
    assert re.findall(r"with ([\d., and]+)\. The nodes", " ".join(TEXT.split())) == [
        ", ".join(sorted(VERSIONS)[:-1]) + " and " + sorted(VERSIONS)[-1]
    ]
    assert f"ComfyUI {FLOOR} and newer" in TEXT
    needed = dict(re.findall(r"(\w+)>=([\d.]+)", " ".join(PROJECT["optional-dependencies"]["diffusers"])))
    assert f"diffusers {needed['diffusers']} or newer and torch {needed['torch']} or newer" in TEXT
