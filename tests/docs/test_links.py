"""What the pages in docs/ point to is there: other pages, their sections, files of this repository."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from .snippets import DOCS

ROOT = DOCS.parent
PAGES = sorted(DOCS.glob("*.md"))


def anchors(page: Path) -> set[str]:
    """Those that GitHub gives the headings of a page."""
    titles = re.findall(r"^#+ (.+)$", re.sub(r"(?s)^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path):
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        found = page.parent / path if path else page
        assert found.exists(), target
        assert not anchor or anchor in anchors(found), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_of_this_repository_that_is_named_exists(page: Path):
    named = re.findall(r"`((?:magcache|tests|tools|docs|benchmarks)/[\w./]+)`", page.read_text(encoding="utf-8"))
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_the_index_names_every_page():
    index = (DOCS / "README.md").read_text(encoding="utf-8")
    assert [page.name for page in PAGES if page.name != "README.md" and f"({page.name})" not in index] == []


@pytest.mark.parametrize("page", ["README.md", "README.ja.md", "README.zh.md", "docs/troubleshooting.md"])
def test_every_template_that_is_named_exists(page: str):
    named = re.findall(r"`([^`\n]+,(?: with and without MagCache| no download))`", (ROOT / page).read_text(encoding="utf-8"))
    assert named and [name for name in named if not (ROOT / "example_workflows" / f"{name}.json").exists()] == []
