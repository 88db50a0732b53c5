"""Older ComfyUIs pass the same tests. Each needs a process of its own, since one can hold one ComfyUI; they run side by side."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from magcache.server.launch import NEWEST, VERSIONS

OLDER = [version for version in VERSIONS if version != NEWEST]
OPTIONS = ("--random-runs", "10", "--tb=short", "-p", "no:cacheprovider")


@pytest.fixture(scope="module")
def started() -> Iterator[dict[str, tuple[subprocess.Popen[str], IO[str]]]]:
    """The tests of each version, running."""
    with tempfile.TemporaryDirectory() as folder:
        runs: dict[str, tuple[subprocess.Popen[str], IO[str]]] = {}
        for version in OLDER:
            command = [sys.executable, "-m", "pytest", "tests/comfyui", "--comfyui-version", version, *OPTIONS]
            log = (Path(folder) / version).open("w+", encoding="utf-8")
            runs[version] = subprocess.Popen(command, cwd=Path(__file__).parents[1], stdout=log, stderr=log, text=True), log
        yield runs
        for process, log in runs.values():
            process.kill()
            process.wait()
            log.close()


@pytest.mark.parametrize("version", OLDER)
def test_an_older_comfyui_passes_the_same_tests(version: str, started: dict[str, tuple[subprocess.Popen[str], IO[str]]]):
    process, log = started[version]
    code = process.wait()
    log.seek(0)
    assert code == 0, f"on ComfyUI {version}:\n" + "\n".join(log.read().splitlines()[-60:])
