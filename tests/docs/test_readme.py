"""The README says the same in every language: the same figures, commands, tables, links and pictures, paragraph by paragraph."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

from tools.draw_skip import FILE, drawing

ROOT = Path(__file__).parents[2]
FILES = {"en": "README.md", "ja": "README.ja.md", "zh": "README.zh.md"}
OWN_SCRIPT = {"ja": re.compile("[\u3040-\u30ff]"), "zh": re.compile("[\u4e00-\u9fff]")}
KANA = re.compile("[\u3040-\u30ff]")


@dataclass(frozen=True, slots=True)
class Facts:
    """What a paragraph, table or code block must have in common with its translations: in a table in this order, in a sentence in any."""

    kind: str
    numbers: list[str]
    code: list[str]
    links: list[str]
    cells: list[int]

    @classmethod
    def of(cls, block: str) -> Facts:
        if block.startswith("```"):
            return cls("code", [], block.splitlines(), [], [])
        kind = re.match(r"#+|\||!", block)
        rows = [line for line in block.splitlines() if line.startswith("|")]
        ordered = list[str] if rows else sorted
        return cls(
            kind=kind.group() if kind else "text",
            numbers=ordered(re.findall(r"\d+(?:[.,]\d+)*", re.sub(r"\]\([^)]*\)", "]", block))),
            code=ordered(re.findall(r"`[^`]+`", block)),
            links=ordered(re.findall(r"\]\(([^)]*)\)", block)),
            cells=[row.count("|") for row in rows],
        )


def blocks(language: str) -> list[str]:
    """All but the second, which leads to the other languages."""
    text = (ROOT / FILES[language]).read_text(encoding="utf-8")
    found = [block.strip() for block in re.split(r"(?s)(```.*?^```$)|\n\n", text, flags=re.MULTILINE) if block and block.strip()]
    return [found[0], *found[2:]]


@pytest.mark.parametrize("language", ["ja", "zh"])
def test_a_translation_has_the_same_facts(language: str):
    english, translated = blocks("en"), blocks(language)
    differences = [
        f"{FILES[language]}, {name} of “{theirs.splitlines()[0][:60]}”: {found} instead of {expected}"
        for ours, theirs in zip(english, translated, strict=False)
        for (name, expected), found in zip(asdict(Facts.of(ours)).items(), asdict(Facts.of(theirs)).values(), strict=True)
        if found != expected
    ]
    assert not differences, "\n".join(differences)
    assert len(translated) == len(english), f"{FILES[language]} ends with “{translated[-1][:60]}”, {FILES['en']} with “{english[-1][:60]}”"


@pytest.mark.parametrize("language", ["ja", "zh"])
def test_a_translation_is_one(language: str):
    for block in blocks(language)[1:]:
        prose = [line for line in block.splitlines() if not line.startswith(("```", "|"))]
        assert block.startswith(("```", "|")) or OWN_SCRIPT[language].search("".join(prose)), block
        assert language == "ja" or not KANA.search(block), block


def test_each_leads_to_the_others_and_to_nothing_that_is_missing():
    for language, name in FILES.items():
        text = (ROOT / name).read_text(encoding="utf-8")
        line = text.split("\n\n")[1]
        assert re.findall(r"\]\(([^)]*)\)", line) == [other for key, other in FILES.items() if key != language]
        local = [target.split("#")[0] for target in re.findall(r"\]\(([^)]*)\)", text) if "://" not in target]
        assert [target for target in local if not (ROOT / target).exists()] == []


def test_the_figure_is_the_one_that_its_script_draws():
    assert FILE.read_text(encoding="utf-8") == drawing(), "run: python -m tools.draw_skip"
    assert all("](docs/skip.svg)" in (ROOT / name).read_text(encoding="utf-8") for name in FILES.values())
