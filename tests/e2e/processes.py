"""The command line as a process of its own, and the server that it shares with other clients."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from magcache.server.launch import Server
from magcache.server.workflow import Workflow

ROOT = Path(__file__).parents[2]
_LONGEST_WAIT = 120


def start(*arguments: str) -> subprocess.Popen[str]:
    """Start `magcache` with these arguments."""
    # A shell makes background processes ignore Ctrl-C (SIGINT), and their children inherit that.
    begin = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from magcache.cli.main import app; app()"
    command = [sys.executable, "-c", begin, *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_until(condition: Callable[[], Any]) -> None:
    """Wait until the condition holds; fails after two minutes."""
    end = time.monotonic() + _LONGEST_WAIT
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def get(server: Server, path: str) -> bytes:
    with urllib.request.urlopen(f"http://{server.address}{quote(path)}") as answer:
        return answer.read()


def get_json(server: Server, path: str) -> Any:
    return json.loads(get(server, path))


def queue(server: Server, workflow: Workflow) -> str:
    """Queue a workflow as another client; returns its id."""
    request = urllib.request.Request(f"http://{server.address}/prompt", json.dumps({"prompt": workflow}).encode())
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)["prompt_id"]
