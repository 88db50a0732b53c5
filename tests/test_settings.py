"""The file of tuned settings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from magcache.errors import SettingsError
from magcache.settings import SpeedupSettings

TUNED = SpeedupSettings(2.6, "scale", 0.1, 0.9)


def test_is_read_back_as_it_was_written(tmp_path: Path):
    TUNED.save(tmp_path / "presets" / "mine.json")
    assert SpeedupSettings.load(tmp_path / "presets" / "mine.json") == TUNED


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"speedup": 0.5}, "speed-up is 0.5"),
        ({"speedup": float("nan")}, "speed-up is nan"),
        ({"speedup": "fast"}, "expected a number"),
        ({"reuse": "guess"}, "'guess'; expected one of hold"),
        ({"start_percent": 0.9, "end_percent": 0.1}, "start before end"),
        ({"end_percent": 2}, "0.1 to 2"),
        ({"format": "magcache.curves.curve"}, "magcache.preset"),
        ({"reuse": None}, "expected a text"),
    ],
)
def test_what_cannot_be_right_is_explained(tmp_path: Path, changed: dict[str, Any], said: str):
    path = tmp_path / "mine.json"
    TUNED.save(path)
    path.write_text(json.dumps({**json.loads(path.read_text()), **changed}))
    with pytest.raises(SettingsError, match=said) as caught:
        SpeedupSettings.load(path)
    assert "mine.json" in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": "magcache.preset"}', "[" * 100_000])
def test_a_damaged_file_is_explained(tmp_path: Path, text: str):
    (tmp_path / "mine.json").write_text(text)
    with pytest.raises(SettingsError, match="cannot be read as a preset"):
        SpeedupSettings.load(tmp_path / "mine.json")
