"""Runs of the tests in older ComfyUIs. Each needs a process of its own, since one can hold one ComfyUI."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

_ROOT = Path(__file__).parents[1]
_OPTIONS = ("--random-runs", "10", "--tb=short", "-p", "no:cacheprovider")
_SHOWN = 60
"""Lines of a log that a failure shows."""


class OlderVersions:
    """Tests tests/comfyui in each of `versions`, one after the other, on a core beside that of the other tests."""

    def __init__(self, versions: Sequence[str]) -> None:
        self._done = {version: threading.Event() for version in versions}
        self._codes: dict[str, int] = {}
        self._folder = tempfile.TemporaryDirectory()
        self._process: subprocess.Popen[bytes] | None = None
        self._stopped = False
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        for version, done in self._done.items():
            if self._stopped:
                return
            command = [sys.executable, "-m", "pytest", "tests/comfyui", "--comfyui-version", version, *_OPTIONS]
            with self._log(version).open("wb") as log:
                self._process = subprocess.Popen(command, cwd=_ROOT, stdout=log, stderr=log)
                self._codes[version] = self._process.wait()
            done.set()

    def _log(self, version: str) -> Path:
        return Path(self._folder.name) / version

    def result(self, version: str) -> tuple[int, str]:
        """The exit code of a version's tests and the end of what they said. Waits for them."""
        self._done[version].wait()
        said = self._log(version).read_text(encoding="utf-8", errors="replace")
        return self._codes[version], "\n".join(said.splitlines()[-_SHOWN:])

    def stop(self) -> None:
        """End what still runs, and forget what was said."""
        self._stopped = True
        if self._process is not None:
            self._process.kill()
        self._thread.join()
        self._folder.cleanup()
