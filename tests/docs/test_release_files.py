"""CITATION.cff, CHANGELOG.md and NOTICE agree with the project, and the wheel carries what the licence asks for."""

from __future__ import annotations

import json
import re
import sys
from typing import Any

import yaml

from .snippets import DOCS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = DOCS.parent


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_the_citation_is_of_this_version_and_of_the_paper_that_the_curves_name():
    citation = yaml.safe_load(text("CITATION.cff"))
    assert citation["cff-version"] == "1.2.0" and citation["message"] and citation["authors"] and citation["title"]
    assert citation["version"] == project()["version"] and citation["license"] == project()["license"]
    paper = json.loads(text("magcache/curves/flux.json"))["provenance"]["paper"].removeprefix("arXiv:")
    assert paper in citation["preferred-citation"]["url"] and paper in text("NOTICE") and paper in text("README.md")


def test_the_changelog_begins_with_this_version():
    assert re.findall(r"^## (\d+\.\d+\.\d+)", text("CHANGELOG.md"), re.MULTILINE)[0] == project()["version"]


def test_the_notice_goes_with_the_wheel_and_names_what_the_demo_was_trained_on():
    assert project()["license-files"] == ["LICENSE", "NOTICE"]
    assert all(word in text("NOTICE") for word in ("Noto Emoji", "Apache License, Version 2.0", "magcache/demo/checkpoints"))


def test_the_notice_names_every_font_and_its_licence():
    fonts = [path for path in (ROOT / "magcache").rglob("*") if path.suffix in (".ttf", ".otf", ".woff2")]
    named = [path.name for path in fonts if path.name not in text("NOTICE")]
    licences = {path.with_name("OFL.txt").relative_to(ROOT).as_posix() for path in fonts}
    assert named == [] and all((ROOT / name).exists() and name in text("NOTICE") for name in licences)
