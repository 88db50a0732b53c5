"""Texts remember how they were made, and the catalogs say every one of them in Japanese and Chinese."""

from __future__ import annotations

import ast
import copy
import json
import pickle
import re
import string
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import ImageFont

from magcache.texts import ENGLISH, Language, Text, counted, joined

PACKAGE = Path(__file__).parents[1] / "magcache"
CATALOGS = PACKAGE / "comfyui" / "texts"
LANGUAGES = ("ja", "zh")
SEPARATORS = {" ", ", "}
"""What stands between sentences and in lists."""
OWN_SCRIPT = {"ja": re.compile("[\u3040-\u30ff\u4e00-\u9fff]"), "zh": re.compile("[\u4e00-\u9fff]")}
GERMAN = Language(
    "de",
    {"{count} steps": "{count} Schritte", "{n:.1f}× faster": "{n:.1f}-mal so schnell", ", ": "; ", "It failed: {why}": "Fehler: {why}"},
)


def language(code: str) -> Language:
    return Language(code, json.loads((CATALOGS / f"{code}.json").read_text(encoding="utf-8")), CATALOGS / f"{code}.ttf")


def templates() -> Iterator[tuple[str, str]]:
    """Every template in the code of the package, and where it stands."""
    for path in PACKAGE.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if path.name == "texts.py" or not any(
            isinstance(node, ast.ImportFrom) and (node.module or "").endswith("texts") for node in tree.body
        ):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("Text", "counted"):
                for argument in node.args[:1] if node.func.id == "Text" else node.args[1:3]:
                    assert isinstance(argument, ast.Constant) and isinstance(argument.value, str), (
                        f"{path}:{node.lineno} has no plain template"
                    )
                    yield argument.value, f"{path.relative_to(PACKAGE)}:{node.lineno}"


def fields(template: str) -> list[tuple[str, str, str]]:
    """The placeholders of a template, each with its format."""
    return sorted(
        (name, spec or "", conversion or "") for _, name, spec, conversion in string.Formatter().parse(template) if name is not None
    )


def only_placeholders(template: str) -> bool:
    return not re.sub(r"{[^}]*}", "", template)


def test_a_text_is_its_english_words():
    text = Text("{n:.1f}× faster", n=1.96)
    assert text == "2.0× faster" and isinstance(text, str) and json.dumps(text) == '"2.0\\u00d7 faster"'
    assert Text("100 {braces}") == "100 {braces}", "without values nothing is filled in"


def test_it_can_be_said_in_another_language():
    text = joined([Text("{n:.1f}× faster", n=2), counted(3, "{count} step", "{count} steps"), "", "curve mine"], ", ")
    assert text == "2.0× faster, 3 steps, curve mine"
    assert GERMAN.said(text) == "2.0-mal so schnell; 3 Schritte; curve mine"
    assert ENGLISH.said(text) == text and GERMAN.said("plain") == "plain"
    assert counted(1, "{count} step", "{count} steps") == "1 step"


def test_texts_within_texts_and_in_errors_are_said_too():
    error = ValueError(Text("{count} steps", count=2))
    text = Text("It failed: {why}", why=error)
    assert text == "It failed: 2 steps" and GERMAN.said(text) == "Fehler: 2 Schritte"
    assert GERMAN.said(Text("It failed: {why}", why=OSError(2, "No such file"))) == "Fehler: [Errno 2] No such file"
    assert GERMAN.said(Text("It failed: {why}", why=joined([text, text]))) == "Fehler: Fehler: 2 Schritte Fehler: 2 Schritte"


@pytest.mark.parametrize("text", [Text("{count} steps", count=2), joined([Text("{count} steps", count=2)]), Text("{braces}")])
def test_a_copy_can_be_said_as_well(text: Text):
    for other in (copy.deepcopy(text), pickle.loads(pickle.dumps(text))):
        assert other == text and GERMAN.said(other) == GERMAN.said(text)


@pytest.mark.parametrize("code", LANGUAGES)
def test_a_catalog_has_every_text_and_no_other(code: str):
    used = dict(templates())
    assert len(used) > 80
    needed = {template for template in used if not only_placeholders(template)} | SEPARATORS
    catalog = language(code).catalog
    assert {template: used.get(template) for template in needed - set(catalog)} == {}, "missing"
    assert set(catalog) - needed == set(), "used nowhere"


@pytest.mark.parametrize("code", LANGUAGES)
def test_translations_fill_in_the_same_values(code: str):
    for template, translated in language(code).catalog.items():
        assert fields(translated) == fields(template), template
        assert template in SEPARATORS or OWN_SCRIPT[code].search(translated) or only_placeholders(re.sub("[：。（）]", "", translated)), (
            template
        )


@pytest.mark.parametrize("code", LANGUAGES)
def test_the_font_has_every_letter_of_the_catalog(code: str):
    """A letter that is missing is drawn as the font's `.notdef`, as one from the private use area is."""
    found = language(code)
    assert found.font is not None
    font = ImageFont.truetype(found.font, 40)
    missing = bytes(font.getmask("\ue000"))
    letters = set(string.printable.strip() + "·×…").union(*found.catalog.values()) - {" "}
    assert [letter for letter in sorted(letters) if bytes(font.getmask(letter)) == missing] == []
    assert bytes(font.getmask("\U0001f98a")) == missing, "what is not there is seen to be missing"
