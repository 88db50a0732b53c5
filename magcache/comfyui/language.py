"""The language in which a user reads ComfyUI, and texts in it."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import folder_paths
from comfy.cli_args import args

from ..documents import mapping, read_text
from ..errors import MagCacheError
from ..texts import ENGLISH, Language, Text

_CATALOGS = Path(__file__).parent / "texts"
_MOST_BYTES = 2**24
_OF_PAGE = "MagCache.Language"
"""Where web/js/magcache.js keeps the language that the page has taken from the browser: ComfyUI keeps only one that was chosen."""

log = logging.getLogger("magcache")


def in_users_language(text: str) -> str:
    """`text` in the language that the user has chosen in ComfyUI's settings; English if there is no catalog of that language."""
    return users_language().said(text)


def users_language() -> Language:
    """The language of ComfyUI's settings, as they are now, or else that of the web page. English where that cannot be told."""
    if args.multi_user:  # Who reads a text is not known to a node.
        return ENGLISH
    settings = _settings()
    chosen = settings.get("Comfy.Locale") or settings.get(_OF_PAGE)
    return _language(chosen.split("-")[0]) if isinstance(chosen, str) else ENGLISH


@contextmanager
def errors_in_users_language(show: Callable[[str], None]) -> Generator[None, None, None]:
    """Within: an error of MagCache is shown by `show`, logged in English, and raised on with its message in the user's language.

    ComfyUI shows the message of an error that a node raises.
    """
    try:
        yield
    except MagCacheError as error:
        text = Text("{error}", error=error)
        show(text)
        if (translated := in_users_language(text)) != text:
            log.error("MagCache: %s", text)
            error.args = (translated,)
        raise


@cache
def _language(code: str) -> Language:
    """The language with this code; English if it has no catalog."""
    if code not in {path.stem for path in _CATALOGS.glob("*.json")}:
        return ENGLISH
    return Language(code, json.loads((_CATALOGS / f"{code}.json").read_text(encoding="utf-8")), _CATALOGS / f"{code}.ttf")


def _settings() -> Mapping[str, Any]:
    """What the user has set in ComfyUI; empty if nothing was, or if it cannot be read."""
    path = Path(folder_paths.get_user_directory()) / "default" / "comfy.settings.json"
    try:
        return mapping(json.loads(read_text(path, _MOST_BYTES)))
    except (OSError, ValueError, TypeError, RecursionError):
        return {}
