"""Settings: what they refuse, and the file of those that were tuned."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from magcache.errors import SettingsError
from magcache.settings import SpeedupSettings, ThresholdSettings


@pytest.mark.parametrize(
    ("wish", "complaint"),
    [
        ({"threshold": -1.0}, "threshold is -1.0"),
        ({"threshold": -1e-9}, "threshold is -1e-09"),
        ({"threshold": math.nan}, "threshold is nan"),
        ({"threshold": math.inf}, "threshold is inf"),
        ({"max_skip": -1}, r"max_skip \(K\) is -1"),
        ({"retention": -0.1}, "retention is -0.1"),
        ({"retention": 1.1}, "retention is 1.1"),
        ({"retention": math.nan}, "retention is nan"),
        ({"start_step": -1}, "start step is -1"),
    ],
)
def test_a_knob_of_the_published_rule_that_is_out_of_range(wish: dict[str, Any], complaint: str):
    with pytest.raises(SettingsError, match=f"The {complaint}; it must be|{complaint}; it must be"):
        ThresholdSettings(**({"threshold": 0.1, "max_skip": 3} | wish))


def test_knobs_at_the_ends_of_their_ranges():
    for retention in (0, 1):
        ThresholdSettings(threshold=0, max_skip=0, retention=retention, start_step=0, end_step=-100)


@pytest.mark.parametrize(
    ("wish", "off"), [({}, False), ({"threshold": 0.0}, True), ({"max_skip": 0}, True), ({"threshold": 1e-9, "max_skip": 1}, False)]
)
def test_off(wish: dict[str, Any], off: bool):
    assert ThresholdSettings(**wish).off == off


@pytest.mark.parametrize(
    ("wish", "complaint"),
    [
        ((0.99, "hold"), "speed-up is 0.99"),
        ((101.0, "hold"), "speed-up is 101.0"),
        ((math.nan, "hold"), "speed-up is nan"),
        ((2.0, "guess"), "'guess'; expected one of hold, scale, extrapolate"),
        ((2.0, "hold", -0.1), "schedule is -0.1 to 1.0"),
        ((2.0, "hold", 0.0, 1.1), "schedule is 0.0 to 1.1"),
        ((2.0, "hold", 0.6, 0.5), "start before end"),
    ],
)
def test_a_tuned_setting_that_is_out_of_range(wish: tuple[Any, ...], complaint: str):
    with pytest.raises(SettingsError, match=complaint):
        SpeedupSettings(*wish)


# The file of tuned settings

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
        ({"format": "magcache.curve"}, "magcache.preset"),
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
