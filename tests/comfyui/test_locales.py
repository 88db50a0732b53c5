"""What users read about the nodes: their texts in every language, and their help pages.

A Japanese or Chinese text that is missing is a warning for a contributor, who need not speak the language, and a failure on release:
where MAGCACHE_RELEASE is set, as for everything that is pushed to main. A text that is there and wrong is always a failure.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from comfy_api.latest import io

from magcache.comfyui.extension import MagCacheExtension

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "web" / "docs"
NODES = (
    "MagCacheAuto", "MagCache", "MagCacheCalibration", "MagCacheReport", "MagCacheCompare", "MagCachePreset", "CompileModel",
    "MagCacheDemoText", "MagCacheDemoDecode",
)  # fmt: skip
TRANSLATIONS = ("ja", "zh")
LANGUAGES = ("en", *TRANSLATIONS)
PRODUCT_NAMES = {"MagCache"}
"""Texts that are the same in every language."""
OWN_SCRIPT = {"ja": re.compile("[\u3040-\u30ff\u4e00-\u9fff]"), "zh": re.compile("[\u4e00-\u9fff]")}
KANA = re.compile("[\u3040-\u30ff]")


@pytest.fixture
def schemas(curves_folder: Path) -> dict[str, io.Schema]:
    found = [node.define_schema() for node in asyncio.run(MagCacheExtension().get_node_list())]
    return {schema.node_id: schema for schema in found}


def page(node: str, language: str) -> Path:
    return DOCS / f"{node}.md" if language == "en" else DOCS / node / f"{language}.md"


def page_text(node: str, language: str) -> str:
    path = page(node, language)
    if language in TRANSLATIONS and not path.exists():
        pytest.skip("reported by test_there_are_pages_for_every_node_and_language_and_no_others")
    return path.read_text(encoding="utf-8")


def load(language: str, file: str) -> Any:
    return json.loads((ROOT / "locales" / language / file).read_text(encoding="utf-8"))


def shown(language: str, file: str) -> Any:
    """What the frontend shows: the English text where a translation is missing."""

    def filled(english: Any, translated: Any) -> Any:
        if not isinstance(english, dict):
            return translated or english
        return {key: filled(value, translated.get(key, {} if isinstance(value, dict) else "")) for key, value in english.items()}

    return filled(load("en", file), load(language, file))


def missing(language: str, what: Any) -> None:
    """Report what is missing in a language, if it is anything. English must always be complete."""
    if not what:
        return
    text = f"missing in {language!r}: {what}"
    if language == "en" or os.environ.get("MAGCACHE_RELEASE"):
        pytest.fail(text)
    warnings.warn(text, stacklevel=2)


def texts(tree: dict[str, Any], place: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """Every text of a locale file with the keys that lead to it."""
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from texts(value, (*place, key))
        else:
            yield (*place, key), value


def in_english(schema: io.Schema) -> dict[str, Any]:
    return {
        "display_name": schema.display_name,
        "description": schema.description,
        "inputs": {each.id: {"name": each.display_name or each.id, "tooltip": each.tooltip} for each in schema.inputs},
        "outputs": {str(index): {"name": each.display_name, "tooltip": each.tooltip} for index, each in enumerate(schema.outputs)},
    }


def outline(text: str) -> list[str]:
    """The headings, list items and table rows of a page by their kind: the same in every translation."""
    return re.findall(r"^(#+ |- |\d+\. |\|)", text, re.MULTILINE)


def test_these_are_all_nodes(schemas: dict[str, io.Schema]):
    assert set(schemas) == set(NODES)


@pytest.mark.parametrize("node", NODES)
def test_a_node_explains_itself(schemas: dict[str, io.Schema], node: str):
    schema = schemas[node]
    assert schema.description
    assert [each.id for each in (*schema.inputs, *schema.outputs) if not each.tooltip] == []
    # The demo's nodes shall not stand in the way of those who search for an encoder or a decoder.
    assert schema.search_aliases or schema.category == "MagCache/demo"


def test_english_is_what_the_schemas_say(schemas: dict[str, io.Schema]):
    english = load("en", "nodeDefs.json")
    for node in english.values():
        for each in node["inputs"].values():
            assert all(option == text for option, text in each.pop("options", {}).items())
    assert english == {node: in_english(schema) for node, schema in schemas.items()}


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("file", ["nodeDefs.json", "main.json"])
def test_every_language_has_every_text(language: str, file: str):
    english, found = dict(texts(load("en", file))), dict(texts(load(language, file)))
    assert found.keys() <= english.keys()
    missing(language, [place for place in english if not found.get(place, "").strip()])
    # The frontend would take these for placeholders, plurals and links.
    assert [place for place, text in found.items() if set(text) & set("{}|@")] == []


def test_translated_options_can_be_chosen(schemas: dict[str, io.Schema]):
    places = [place for place, _ in texts(load("en", "nodeDefs.json")) if "options" in place]
    assert places
    for node, _, name, _, option in places:
        (chosen,) = (each for each in schemas[node].inputs if each.id == name)
        assert option in chosen.options


def test_categories_are_those_of_the_nodes(schemas: dict[str, io.Schema]):
    assert set(load("en", "main.json")["nodeCategories"]) == {part for schema in schemas.values() for part in schema.category.split("/")}


@pytest.mark.parametrize("language", TRANSLATIONS)
@pytest.mark.parametrize("file", ["nodeDefs.json", "main.json"])
def test_a_translation_is_one(language: str, file: str):
    english, untranslated = dict(texts(load("en", file))), []
    for place, text in texts(load(language, file)):
        if english[place] in PRODUCT_NAMES:
            assert text == english[place]
        elif not OWN_SCRIPT[language].search(text) and not ("options" in place and text == text.upper()):
            untranslated.append(place)
        assert language == "ja" or not KANA.search(text), place
    missing(language, untranslated)


def test_the_pack_says_where_its_pages_are():
    spec = importlib.util.spec_from_file_location("magcache_pack", ROOT / "__init__.py")
    assert spec and spec.loader
    pack = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(pack)
    assert (ROOT / pack.WEB_DIRECTORY / "docs").resolve() == DOCS


def test_there_are_pages_for_every_node_and_language_and_no_others():
    found = {path for path in DOCS.rglob("*") if path.is_file()}
    assert found <= {page(node, language) for node in NODES for language in LANGUAGES}
    for language in LANGUAGES:
        missing(language, [node for node in NODES if page(node, language) not in found])


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("node", NODES)
def test_a_page_tells_of_every_input_under_the_name_it_has(schemas: dict[str, io.Schema], node: str, language: str):
    text, names = page_text(node, language), shown(language, "nodeDefs.json")[node]
    assert text.startswith(f"# {names['display_name']}\n")
    inputs = {each.id: names["inputs"][each.id]["name"] for each in schemas[node].inputs}
    entries = [f"- `{name}`: " if language == "en" else f"- {name}（`{key}`）：" for key, name in inputs.items()]
    missing(language, [f"{page(node, language).relative_to(DOCS)}: {entry}" for entry in entries if f"\n{entry}" not in text])


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("node", NODES)
def test_a_page_fits_into_the_narrow_panel_it_is_read_in(node: str, language: str):
    """Tables and diagrams would have to be scrolled sideways. The recommended settings have too many columns for a list."""
    text = page_text(node, language)
    assert "```" not in text
    assert [line for line in text.splitlines() if line.startswith("|") and line.count("|") < 6] == []


@pytest.mark.parametrize("node", NODES)
def test_an_english_page_is_english(node: str):
    assert not OWN_SCRIPT["ja"].search(page_text(node, "en"))


@pytest.mark.parametrize("language", TRANSLATIONS)
@pytest.mark.parametrize("node", NODES)
def test_a_page_says_the_same_in_every_language(node: str, language: str):
    text = page_text(node, language)
    assert bool(KANA.search(text)) == (language == "ja") and OWN_SCRIPT[language].search(text)
    english, translated = outline(page_text(node, "en")), outline(text)
    assert len(translated) <= len(english), "it has more headings, list items or rows than the English page"
    differs = f"{page(node, language).relative_to(DOCS)}: its headings, list items and rows are not those of the English page"
    missing(language, translated != english and differs)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("node", NODES)
def test_a_page_names_nodes_as_they_are_named(node: str, language: str):
    """Bold names that begin with MagCache are nodes; a page in another language uses their names there."""
    known = {each["display_name"] for each in shown(language, "nodeDefs.json").values()}
    named = set(re.findall(r"\*\*(MagCache[^*`]*)\*\*", page_text(node, language)))
    assert named <= known


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("node", NODES)
def test_links_and_images_of_a_page_resolve(node: str, language: str):
    """The frontend resolves them from the folder of all pages, also those in a page of a subfolder."""
    text = page_text(node, language)
    for target in re.findall(r"\]\(([^)\s]+)|(?:src|href)=\"([^\"]+)", text):
        place = "".join(target)
        assert place.startswith("https://") or (DOCS / place).is_file(), place


@pytest.mark.parametrize("language", LANGUAGES)
def test_recommended_settings_are_those_of_the_list_of_models(language: str):
    def settings(text: str) -> list[str]:
        return re.findall(r"\| (`\S+` \| [\d.]+ \| [\d.]+ \| \d+) \|$", text, re.MULTILINE)

    assert settings(page_text("MagCache", language)) == settings((ROOT / "docs" / "models.md").read_text(encoding="utf-8")) != []


def test_what_is_missing_warns_a_contributor_and_fails_on_release(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("MAGCACHE_RELEASE", raising=False)
    with pytest.warns(UserWarning, match="missing in 'ja': a text"):
        missing("ja", "a text")
    with pytest.raises(pytest.fail.Exception, match="missing in 'en'"):
        missing("en", "a text")
    monkeypatch.setenv("MAGCACHE_RELEASE", "1")
    with pytest.raises(pytest.fail.Exception, match="missing in 'zh': a text"):
        missing("zh", "a text")
