"""The oldest ComfyUI that is supported passes the same tests. It needs a process of its own: one can hold one ComfyUI."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from magcache.server.launch import FLOOR


def test_the_oldest_supported_comfyui_passes_the_same_tests():
    command = [sys.executable, "-m", "pytest", "tests/comfyui", "--comfyui-version", FLOOR, "--tb=short", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, f"on ComfyUI {FLOOR}:\n" + "\n".join(done.stdout.splitlines()[-60:])
