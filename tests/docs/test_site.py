"""The pages of docs/ build to a site: without a warning, with the help pages of the nodes, and no link in it leads nowhere."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

from .snippets import DOCS

ROOT = DOCS.parent
REPOSITORY = "https://github.com/magcache/magcache"


class Parts(HTMLParser):
    """What a page links to, what a browser loads for it, its anchors and its title."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.anchors: set[str] = set()
        self.heading = ""
        self._in_heading = False
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.anchors |= {found[name] for name in ("id", "name") if name in found}
        if tag in ("img", "script", "source", "iframe") and "src" in found:
            self.loaded.append(found["src"])
        elif tag == "link" and found.get("rel") in ("stylesheet", "icon", "preconnect"):
            self.loaded.append(found["href"])
        elif tag == "a" and "href" in found:
            self.links.append(found["href"])
        self._in_heading = tag == "h1" or self._in_heading

    def handle_data(self, data: str) -> None:
        if self._in_heading:
            self.heading += data

    def handle_endtag(self, tag: str) -> None:
        self._in_heading = self._in_heading and tag != "h1"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, Parts]:
    """Every page of the built site. The network is not used: a proxy that is not there would be asked."""
    target = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(target)]
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, **nowhere}, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return {path: Parts(path) for path in target.rglob("*.html") if path.name != "404.html"}


def names(site: dict[Path, Parts]) -> set[str]:
    home = next(path.parent for path in site if path.name == "index.html" and (path.parent / "search").is_dir())
    return {path.relative_to(home).as_posix() for path in site}


def test_it_has_every_page_and_the_help_of_every_node_that_people_place(site: dict[Path, Parts]):
    pages = {page.with_suffix(".html").name for page in DOCS.glob("*.md")} - {"README.html"} | {"index.html"}
    help_pages = {f"nodes/{page.stem}.html" for page in (ROOT / "web" / "docs").glob("*.md") if "Demo" not in page.stem}
    assert len(help_pages) > 5 and names(site) == pages | help_pages


def test_no_page_is_there_twice(site: dict[Path, Parts]):
    headings = Counter(page.heading.strip("¶ \n") for page in site.values())
    assert [heading for heading, count in headings.items() if count > 1 or not heading] == []


def test_every_link_leads_somewhere(site: dict[Path, Parts]):
    lost = []
    for path, page in site.items():
        for target in page.links + page.loaded:
            place, _, anchor = unquote(target).partition("#")
            if "://" in place or place.startswith(("mailto:", "data:")):
                continue
            found = (path.parent / place).resolve() if place else path
            if not found.exists() or (anchor and found in site and anchor not in site[found].anchors | {"__top"}):
                lost.append((path.name, target))
    assert lost == []


def test_what_is_linked_in_the_repository_is_there(site: dict[Path, Parts]):
    within = {link.partition("#")[0] for page in site.values() for link in page.links if link.startswith(f"{REPOSITORY}/blob/main/")}
    assert within and [link for link in within if not (ROOT / link.removeprefix(f"{REPOSITORY}/blob/main/")).exists()] == []


def test_a_browser_loads_nothing_from_elsewhere(site: dict[Path, Parts]):
    assert [target for page in site.values() for target in page.loaded if "//" in target] == []
