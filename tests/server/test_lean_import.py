"""What uses a server elsewhere needs no torch here."""

from __future__ import annotations

import subprocess
import sys


def test_what_works_with_a_server_elsewhere_does_not_import_torch():
    modules = "magcache.server.bench.report, magcache.server.calibrate, magcache.server.tune.selection"
    check = f"import sys, {modules}; found = {{'torch', 'comfy'}} & set(sys.modules); assert not found, found"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
