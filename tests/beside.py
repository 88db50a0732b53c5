"""Tests in processes of their own, beside the others: in older ComfyUIs, since a process can hold one, and those of diffusers."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

_ROOT = Path(__file__).parents[1]
_OPTIONS = ("--tb=short", "-p", "no:cacheprovider")
_SHOWN = 60
"""Lines of a log that a failure shows."""


class Beside:
    """Runs pytest with the arguments of each of `parts`, one after the other, on a core beside that of the other tests."""

    def __init__(self, parts: Mapping[str, Sequence[str]]) -> None:
        self.parts = parts
        self._done = {name: threading.Event() for name in parts}
        self._codes: dict[str, int] = {}
        self._folder = tempfile.TemporaryDirectory()
        self._process: subprocess.Popen[bytes] | None = None
        self._stopped = False
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        for name, arguments in self.parts.items():
            if self._stopped:
                return
            command = [sys.executable, "-m", "pytest", *arguments, *_OPTIONS]
            with self._log(name).open("wb") as log:
                self._process = subprocess.Popen(command, cwd=_ROOT, stdout=log, stderr=log)
                self._codes[name] = self._process.wait()
            self._done[name].set()

    def _log(self, name: str) -> Path:
        return Path(self._folder.name) / name

    def result(self, name: str) -> tuple[int, str]:
        """The exit code of a part's tests and the end of what they said. Waits for them."""
        self._done[name].wait()
        said = self._log(name).read_text(encoding="utf-8", errors="replace")
        return self._codes[name], "\n".join(said.splitlines()[-_SHOWN:])

    def stop(self) -> None:
        """End what still runs, and forget what was said."""
        self._stopped = True
        if self._process is not None:
            self._process.kill()
        self._thread.join()
        self._folder.cleanup()
