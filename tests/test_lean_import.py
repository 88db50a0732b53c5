"""`import magcache` is cheap: it needs nothing but NumPy."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
HEAVY = ("torch", "comfy", "diffusers", "transformers", "matplotlib", "typer")


def run(code: str) -> None:
    check = f"import sys; {code}; found = [name for name in {HEAVY} if name in sys.modules]; assert not found, found"
    result = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, timeout=60, check=False, cwd=ROOT)
    assert result.returncode == 0, result.stderr


def test_import():
    run("import magcache")


def test_planning():
    run(
        "import magcache as m; curve = m.load_curve('flux'); "
        "assert m.plan_by_threshold(curve, curve.sigmas, m.ThresholdSettings(threshold=0.24, max_skip=5)).speedup > 2; "
        "assert m.plan_speedup(curve, curve.sigmas, 2.0).speedup == 2"
    )


def test_the_custom_node_without_comfyui():
    run("import runpy; assert runpy.run_path('__init__.py')['WEB_DIRECTORY']")
