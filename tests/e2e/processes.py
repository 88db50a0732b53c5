"""The command line as a process of its own, beside a server that others use too."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from magcache.server.launch import Server
from magcache.server.workflow import Workflow

ROOT = Path(__file__).parents[2]
_LONGEST_WAIT = 120


def start(*arguments: str) -> subprocess.Popen[str]:
    # Where the tests run in the background, Ctrl-C is ignored, and what is ignored stays so in a new process.
    begin = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from magcache.cli.main import app; app()"
    command = [sys.executable, "-c", begin, *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def until(condition: Callable[[], Any]) -> None:
    end = time.monotonic() + _LONGEST_WAIT
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def get(server: Server, path: str) -> Any:
    with urllib.request.urlopen(f"http://{server.address}{path}") as answer:
        return json.load(answer)


def queue(server: Server, workflow: Workflow) -> str:
    """Queue it as somebody else; returns its id."""
    request = urllib.request.Request(f"http://{server.address}/prompt", json.dumps({"prompt": workflow}).encode())
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)["prompt_id"]
