"""Options of the test command, and a marker for each folder: `pytest -m core`, or comfyui, diffusers, server, browser, fuzz.

A folder whose tests are not asked for is not even imported: the core's tests run where there is no ComfyUI.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from _pytest.mark.expression import Expression

from magcache.server.launch import NEWEST, VERSIONS

from .beside import Beside

os.environ.setdefault("OMP_NUM_THREADS", "1")
"""Several processes sample at a time here. With more threads each they wait for one another, ten times as long as they compute."""

_HERE = Path(__file__).parent
_MARKERS = {
    "core": (".", "cli", "curves", "docs", "planning", "reports", "runtime"),
    "comfyui": ("benchmarks", "comfyui"),
    "diffusers": ("diffusers", "framepack"),
    "server": ("demo", "e2e", "packaging", "server"),
    "browser": (),
    "fuzz": (),
}
_OTHERWISE = {
    "test_browser.py": "browser",
    "test_framepack.py": "browser",
    "test_layout.py": "browser",
    "test_templates.py": "browser",
    "test_beside.py": "comfyui",
    "test_fuzz.py": "fuzz",
}
"""Files that need something else than their folder's others."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--comfyui-version", default=NEWEST, choices=VERSIONS, help="The pinned ComfyUI that tests/comfyui run in.")
    parser.addoption("--random-runs", default=40, type=int, help="How many combinations test_random_combinations.py tries.")
    parser.addoption("--screenshots", action="store_true", help="Renew the screenshots of the docs in assets/screenshots.")


def pytest_configure(config: pytest.Config) -> None:
    for marker in _MARKERS:
        config.addinivalue_line("markers", f"{marker}: see tests/conftest.py")


def _marker(path: Path) -> str:
    """The marker of a test file, by its folder."""
    if path.name in _OTHERWISE:
        return _OTHERWISE[path.name]
    folder = path.relative_to(_HERE).parts[0] if path.parent != _HERE else "."
    return next(marker for marker, folders in _MARKERS.items() if folder in folders)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out files, and folders such as comfyui, that hold no test that is asked for."""
    wanted = config.getoption("-m")
    if not wanted and _is_whole(config) and collection_path == _HERE / "diffusers":
        return True  # They run beside the others.
    if not wanted or _HERE not in collection_path.parents:
        return None
    expression = Expression.compile(wanted)
    if collection_path.is_dir():
        files = list(collection_path.rglob("test_*.py"))
    else:
        files = [collection_path] if collection_path.name.startswith("test_") else []
    markers = {_marker(path) for path in files}
    return True if files and not any(_matches(expression, marker) for marker in markers) else None


def _matches(expression: Expression, marker: str) -> bool:
    return expression.evaluate(lambda name, **_: name == marker)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        item.add_marker(_marker(item.path))
    items.sort(key=_waits)


def _waits(item: pytest.Item) -> bool:
    """Whether a test waits for those that run beside the others: these come last."""
    return item.path.name == "test_beside.py"


def _is_whole(config: pytest.Config) -> bool:
    """Whether all tests are asked for."""
    return not config.getoption("-m") and config.args_source is not pytest.Config.ArgsSource.ARGS


@pytest.fixture(scope="module", autouse=True)
def _quick_collection() -> None:
    """What is left of earlier tests is not looked at again and again: ComfyUI calls `gc.collect` in nearly every run."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def beside(request: pytest.FixtureRequest) -> Iterator[Beside | None]:
    """The tests that run beside the others, from the first one on; None if they were not asked for."""
    if not any(map(_waits, request.session.items)):
        yield None
        return
    parts = {version: ("tests/comfyui", "--comfyui-version", version, "--random-runs", "10") for version in VERSIONS if version != NEWEST}
    running = Beside({**parts, **({"diffusers": ("tests/diffusers",)} if _is_whole(request.config) else {})})
    yield running
    running.stop()
