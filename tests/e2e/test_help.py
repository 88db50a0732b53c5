"""Translations and help pages reach the browser."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest

from magcache.server.launch import Server

ROOT = Path(__file__).parents[2]


def fetch(server: Server, path: str) -> tuple[str, str]:
    """The text at `path` and its type."""
    with urllib.request.urlopen(f"http://{server.address}{path}") as answer:
        return answer.read().decode(), answer.headers.get_content_type()


def our_nodes(server: Server) -> dict[str, dict[str, Any]]:
    found = json.loads(fetch(server, "/object_info")[0])
    return {name: node for name, node in found.items() if node["python_module"] == "custom_nodes.MagCache"}


@pytest.mark.parametrize("language", ["en", "ja", "zh"])
def test_translations_are_served(server: Server, language: str):
    served = json.loads(fetch(server, "/i18n")[0])[language]
    assert our_nodes(server).keys() == served["nodeDefs"].keys() or language != "en"
    for file, found in (("nodeDefs.json", served["nodeDefs"]), ("main.json", {"nodeCategories": served["nodeCategories"]})):
        assert found == json.loads((ROOT / "locales" / language / file).read_text(encoding="utf-8"))


def test_help_is_served_where_the_frontend_looks(server: Server):
    """It asks for the user's language first, in a folder that it knows from the node's module, then for the page without one."""
    assert our_nodes(server)
    for name, node in our_nodes(server).items():
        folder = node["python_module"].split(".")[1]
        translated = [page for page in (f"{name}/ja.md", f"{name}/zh.md") if (ROOT / "web" / "docs" / page).exists()]
        for page in (f"{name}.md", *translated):
            text, kind = fetch(server, f"/extensions/{folder}/docs/{page}")
            assert text == (ROOT / "web" / "docs" / page).read_text(encoding="utf-8")
            assert kind != "text/html", "the frontend takes that for a page that is missing"


def test_a_language_without_a_page_gets_the_english_one(server: Server):
    with pytest.raises(HTTPError, match="404"):
        fetch(server, "/extensions/MagCache/docs/MagCacheAuto/fr.md")
