"""Names of curves in any script: what is kept of them, and that every file of theirs is valid, its own, and within the folder."""

from __future__ import annotations

from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest

from magcache.curves.names import check_name, file_stem, is_automatic, marked_stem, name_of
from magcache.errors import CurveError

from .made import make

PLAIN = ["flux", "wan2.1_t2v_1.3B", "my-curve.v2", "automatic", "control", "com10", "7", "x" * 100]
OTHERS = [
    "私の曲線",
    "我的 曲线",
    "Мой LoRA",
    "🦊🎨",
    "👩‍🎨 stijl",
    "می‌خواهم",
    "नमस्ते",
    "my curve",
    "../up",
    "a/b",
    "a\\b",
    "C:\\x",
    ".",
    "..",
    ".hidden",
    "-x",
    "con",
    "CON",
    "NUL.v2",
    "Com1",
    "trailing...",
    'a:b*c?d<e>f|g"h',
    "x" * 101,
    "私" * 200,
    "a~b",
    "é",
    "100 %",
    "'quoted'",
]


@pytest.mark.parametrize("name", PLAIN)
def test_an_ordinary_name_is_the_name_of_its_file(name: str):
    assert check_name(name) == make(name=name).name == file_stem(name) == name


@pytest.mark.parametrize("name", OTHERS, ids=range(len(OTHERS)))
def test_a_name_in_any_script_is_kept_and_its_file_is_valid_everywhere(name: str, tmp_path: Path):
    assert check_name(name) == make(name=name).name == name
    file = f"{file_stem(name)}.json"
    for kind in (PurePosixPath, PureWindowsPath):
        assert kind("folder", file).parts == ("folder", file)
    assert not PureWindowsPath(file).is_reserved() and len(file.encode()) < 128 and file[0] not in ".~ -"
    make(name=name).save(tmp_path / "folder" / file)
    assert [path.name for path in (tmp_path / "folder").iterdir()] == [file] and len(list(tmp_path.iterdir())) == 1
    assert name_of(file.removesuffix(".json"), name) == name


def test_every_name_has_a_file_of_its_own():
    alike = ["a b", "a_b", "a/b", "a?b", "私の曲線", "私の曲線!", "私" * 200, "私" * 199, "Mine!", "mine!"]
    assert len({file_stem(name).casefold() for name in alike}) == len(alike)
    assert marked_stem("Mine").casefold() != marked_stem("mine").casefold()


def test_a_name_is_told_by_the_file_only_if_it_was_made_for_it():
    assert name_of("mine", "other") == "mine" and name_of("mine", None) == "mine"
    assert name_of(file_stem("私の曲線"), "another") == file_stem("私の曲線")


@pytest.mark.parametrize(("given", "kept"), [("  my  curve\n", "my curve"), ("cafe\u0301", "café")])
def test_names_that_look_alike_are_one(given: str, kept: str):
    assert check_name(given) == kept


@pytest.mark.parametrize("name", ["", "  ", "auto", " auto ", "a\0b", "a\x1bb", "a\u202eb", "\ud800", "x" * 201])
def test_what_cannot_be_seen_or_is_taken_is_refused(name: str):
    with pytest.raises(CurveError, match="cannot name a curve"):
        check_name(name)
    with pytest.raises(CurveError, match="cannot name a curve"):
        make(name=name)


@pytest.mark.parametrize(
    ("name", "provenance", "automatic"),
    [
        ("flux-01234567", {"fingerprint": "0123456789abcdef", "named": False}, True),
        ("renamed", {"fingerprint": "0123456789abcdef", "named": False}, True),
        ("flux-01234567", {"fingerprint": "0123456789abcdef", "named": True}, False),
        ("flux-01234567", {"fingerprint": "0123456789abcdef"}, True),
        ("hunyuan_video1.5-01234567-below0.42", {"fingerprint": "0123456789abcdef"}, True),
        ("flux-01234567-1.000-to-0.500", {"fingerprint": "0123456789abcdef"}, True),
        ("flux-01234567-mine", {"fingerprint": "0123456789abcdef"}, False),
        ("mine", {"fingerprint": "0123456789abcdef"}, False),
        ("mine", {}, False),
    ],
)
def test_automatic_calibrations_are_told_from_named_ones(name: str, provenance: dict[str, object], automatic: bool):
    assert is_automatic(name, provenance) is automatic
