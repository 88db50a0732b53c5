"""How to install what a command needs. Imports nothing but the standard library: it must work where nothing is installed."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path


def missing(module: str | None, extra: str) -> str:
    """What to do about a module that cannot be found, for a command that needs this extra of the package."""
    return f"{module} is not installed. Run: pip install {_with_extra(extra)}"


def require(module: str) -> None:
    """Raise `ModuleNotFoundError` if there is no such module, without importing it."""
    if find_spec(module) is None:
        raise ModuleNotFoundError(name=module)


def _with_extra(extra: str) -> str:
    """The requirement to give to pip: the installed package, or else the clone of the repository that this file is in."""
    try:
        distribution("magcache")
    except PackageNotFoundError:
        return f'"{Path(__file__).resolve().parents[2]}[{extra}]"'
    return f'"magcache[{extra}]"'
