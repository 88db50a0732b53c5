"""docs/troubleshooting.md explains what the nodes really say: each of its messages is in the code, and each reason of a run on the page."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from magcache.planning.plan import Reason
from magcache.reports import reasons
from magcache.runtime import explanations

from .snippets import DOCS

ROOT = DOCS.parent
TEXT = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
MESSAGES = re.findall(r'\*\*"(.+?)"\*\*', TEXT)
GAP = "…"
"""Stands for a number or a name, on the page and here for what the code fills in."""
FIELD = re.compile(r"\{[^{}]*\}")


def said() -> Iterator[str]:
    """Every text in the code and in the English catalogue of the nodes."""
    for file in (ROOT / "magcache").rglob("*.py"):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield FIELD.sub(GAP, node.value)
            elif isinstance(node, ast.JoinedStr):
                yield "".join(str(part.value) if isinstance(part, ast.Constant) else GAP for part in node.values)
    for file in (ROOT / "locales" / "en").glob("*.json"):
        waiting = [json.loads(file.read_text(encoding="utf-8"))]
        while waiting:
            found = waiting.pop()
            if isinstance(found, str):
                yield FIELD.sub(GAP, found)
            elif isinstance(found, dict):
                waiting += found.values()


SAID = [" ".join(text.split()) for text in said()]


@pytest.mark.parametrize("message", MESSAGES)
def test_a_message_on_the_page_is_one_that_the_code_can_show(message: str):
    parts = [re.escape(part) for part in message.split(GAP)]
    pattern = re.compile(".*".join(parts))
    assert any(pattern.search(text) for text in SAID)


def templates(module: ModuleType) -> list[str]:
    """The texts that a module makes for people."""
    tree = ast.parse(Path(module.__file__ or "").read_text(encoding="utf-8"))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) in ("Text", "counted")]
    plural = {"Text": 0, "counted": 2}
    found = [call.args[plural[ast.unparse(call.func)]] for call in calls]
    return [text.value for text in found if isinstance(text, ast.Constant) and isinstance(text.value, str)]


EXPLAINED = [text for module in (reasons, explanations) for text in templates(module) if FIELD.sub("", text).strip(". ")]


@pytest.mark.parametrize("text", [text for text in EXPLAINED if len(FIELD.sub("", text)) > 20])
def test_every_text_that_says_why_a_run_went_otherwise_is_on_the_page(text: str):
    """By the longest part of its first sentence."""
    part = max(FIELD.split(text.split(". ")[0]), key=len).strip(" .:;,")
    assert part in " ".join(TEXT.split())


def test_every_reason_has_such_a_text():
    assert set(reasons.WHY) == {*Reason} - {Reason.OFF} and len(EXPLAINED) > 25
