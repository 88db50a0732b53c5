"""What the Comfy registry gets: an archive, and texts and pictures for the page of the node pack."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from magcache.server.launch import FLOOR, NEWEST, fetch_comfyui

from .archive import ROOT, archived_files

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

WORKFLOWS = ROOT / ".github" / "workflows"


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_the_archive_holds_what_the_nodes_need_and_nothing_else():
    files = archived_files()
    assert {file.parts[0] for file in files} == {
        "LICENSE", "NOTICE", "README.md", "README.ja.md", "README.zh.md", "__init__.py", "assets", "example_workflows", "locales",
        "magcache", "pyproject.toml", "web",
    }  # fmt: skip
    assert {file.suffix for file in files if file.parts[0] == "assets"} == {".png"}
    assert sum((ROOT / file).stat().st_size for file in files) < 16_000_000


@pytest.mark.parametrize("version", [NEWEST, FLOOR])
def test_the_nodes_import_only_what_comfyui_brings(version: str):
    comfyui = fetch_comfyui(version)
    required = set(re.findall(r"^[\w-]+", (comfyui / "requirements.txt").read_text(), re.MULTILINE))
    own = {path.stem for path in comfyui.iterdir()}
    # Pillow is imported as PIL; torch needs typing_extensions.
    known = sys.stdlib_module_names | required | own | {"PIL", "typing_extensions"}
    assert imported_from(ROOT / "magcache" / "comfyui" / "extension.py") - known == set()


def imported_from(start: Path) -> set[str]:
    """The packages imported by a file, and by those of ours that it imports, at any time."""
    found, waiting, seen = set[str](), [start], set[Path]()
    while waiting:
        file = waiting.pop()
        if file in seen:
            continue
        seen.add(file)
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found.add((node.module or "").split(".")[0])
            elif isinstance(node, ast.ImportFrom):
                folder = file.parents[node.level - 1].joinpath(*(node.module or "").split("."))
                names = [folder, *(folder / alias.name for alias in node.names)]
                waiting += [path for name in names for path in (name.with_suffix(".py"), name / "__init__.py") if path.exists()]
    return found


@pytest.mark.parametrize(("kind", "shape"), [("Icon", (400, 400)), ("Banner", (1680, 720))])
def test_the_pictures_are_where_the_registry_looks(project: dict[str, Any], kind: str, shape: tuple[int, int]):
    home = project["project"]["urls"]["Repository"].replace("github.com", "raw.githubusercontent.com")
    address = project["tool"]["comfy"][kind]
    assert address.startswith(f"{home}/main/")
    assert Image.open(ROOT / address.removeprefix(f"{home}/main/")).size == shape


def test_only_what_passed_the_tests_is_published(project: dict[str, Any]):
    publish, tests = (yaml.safe_load((WORKFLOWS / name).read_text()) for name in ("publish.yml", "tests.yml"))
    jobs = publish["jobs"]
    assert jobs[jobs["publish"]["needs"]]["uses"] == "./.github/workflows/tests.yml"
    assert f"'{project['tool']['comfy']['PublisherId']}'" in jobs["publish"]["if"]
    assert ".ci/run" in [step.get("run") for step in tests["jobs"]["tests"]["steps"]]
    assert "workflow_call" in tests[True], "YAML reads the key 'on' as true"
