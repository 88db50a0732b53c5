"""SECURITY.md is true: what runs in ComfyUI and in a pipeline of diffusers opens no connection, starts no program and loads no pickle."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from .snippets import DOCS

PACKAGE = DOCS.parent / "magcache"
HOSTS = {"ComfyUI": "comfyui", "diffusers": "diffusers"}
CONNECTING = {"aiohttp", "ftplib", "http", "httpx", "huggingface_hub", "requests", "smtplib", "socket", "urllib", "websocket", "xmlrpc"}
RUNNING = {"code", "marshal", "multiprocessing", "pickle", "runpy", "shelve", "subprocess"}
CALLS = {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "torch.load", "np.load", "numpy.load"}


def reached(host: str) -> Iterator[tuple[Path, ast.Module]]:
    """The files of a host, and those of ours that they import, at any time."""
    waiting, seen = sorted((PACKAGE / host).rglob("*.py")), set[Path]()
    while waiting:
        file = waiting.pop()
        if file in seen or not file.exists():
            continue
        seen.add(file)
        tree = ast.parse(file.read_text(encoding="utf-8"))
        yield file, tree
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.level:
                folder = file.parents[node.level - 1].joinpath(*(node.module or "").split("."))
                for name in (folder, *(folder / alias.name for alias in node.names)):
                    waiting += [name.with_suffix(".py"), name / "__init__.py"]


def imported(tree: ast.Module) -> set[str]:
    """The first parts of what a module imports from elsewhere."""
    plain = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    named = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and not node.level}
    return {name.split(".")[0] for name in plain | named}


def called(tree: ast.Module) -> set[str]:
    return {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}


@pytest.mark.parametrize("host", HOSTS.values(), ids=HOSTS)
def test_it_opens_no_connection_and_starts_no_program(host: str):
    files = dict(reached(host))
    assert len(files) > 40 and PACKAGE / "runtime" / "session.py" in files
    assert {file.name: found for file, tree in files.items() if (found := imported(tree) & (CONNECTING | RUNNING))} == {}


def test_nothing_anywhere_loads_a_pickle_or_runs_what_it_reads():
    found = {file.name: called(ast.parse(file.read_text(encoding="utf-8"))) & CALLS for file in PACKAGE.rglob("*.py")}
    assert {name: calls for name, calls in found.items() if calls} == {}


def test_the_network_is_used_where_the_page_says():
    users = {
        file.relative_to(PACKAGE).parts[0]
        for file in PACKAGE.rglob("*.py")
        if imported(ast.parse(file.read_text(encoding="utf-8"))) & CONNECTING
        and file.name != "views.py"  # `urllib.parse` quotes an address.
    }
    assert users == {"server", "framepack"}
    text = (DOCS.parent / "SECURITY.md").read_text(encoding="utf-8")
    assert all(word in text for word in ("magcache demo", "bench", "framepack --weights", "127.0.0.1"))


def test_what_runs_in_the_browser_asks_nobody():
    scripts = {path.name: path.read_text(encoding="utf-8") for path in (DOCS.parent / "web").rglob("*.js")}
    words = ("fetch(", "http:", "https:", "XMLHttpRequest", "WebSocket", "eval(", "Function(")
    assert scripts and [(name, word) for name, text in scripts.items() for word in words if word in text] == []
