"""The test command leaves out what is not asked for, so that the core's tests run where there is no ComfyUI."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_tests_of_the_core_import_no_comfyui():
    code = (
        "import sys, pytest; done = pytest.main(['-m', 'core', '--collect-only', '-q', '-p', 'no:cacheprovider'])\n"
        "found = [name for name in sys.modules if name.split('.')[0] == 'comfy' or name.startswith('tests.comfyui.')]\n"
        "assert done == 0 and not found, found"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False, cwd=ROOT)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "tests/planning/test_reasons.py" in result.stdout and "tests/comfyui" not in result.stdout
