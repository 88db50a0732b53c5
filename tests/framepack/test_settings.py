"""Settings: their ranges, their JSON, and the size of the video."""

from __future__ import annotations

import json

import pytest
from PIL import Image

from magcache.errors import SettingsError
from magcache.framepack.settings import Settings


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("seconds", 0.0), ("seconds", 1000.0), ("seconds", float("nan")), ("steps", 0), ("seed", -1), ("seed", 2**32), ("speedup", 0.5),
        ("speedup", float("inf")), ("guidance_scale", -1.0), ("true_cfg_scale", 0.0), ("size", 8), ("memory", "disk"),
    ],
)  # fmt: skip
def test_a_value_out_of_range_is_refused(name: str, value: object):
    with pytest.raises(SettingsError, match="must be"):
        Settings(prompt="", **{name: value})  # type: ignore[arg-type]


def test_json_gives_the_same_settings():
    settings = Settings(
        prompt="Füchse “rennen”", negative_prompt="snow", true_cfg_scale=2.5, seconds=3.0, seed=2**32 - 1, compare=True, memory="group"
    )
    assert Settings.from_json(json.loads(json.dumps(settings.to_json()))) == settings


def test_settings_of_an_older_page_have_defaults():
    assert Settings.from_json({"prompt": "fox", "unknown": 1}) == Settings(prompt="fox")


@pytest.mark.parametrize(
    "values",
    [{}, {"prompt": 1}, {"prompt": "", "steps": 2.5}, {"prompt": "", "compare": 1}, {"prompt": "", "seconds": "3"},
     {"prompt": "", "seed": -1}, {"prompt": "", "memory": None}],
)  # fmt: skip
def test_wrong_json_is_refused(values: dict):
    with pytest.raises(SettingsError):
        Settings.from_json(values)


@pytest.mark.parametrize(
    ("picture", "expected"), [((512, 512), (640, 640)), ((1920, 1080), (848, 480)), ((10, 1000), (320, 1280)), ((1000, 10), (1280, 320))]
)
def test_the_size_keeps_the_shape_and_the_number_of_pixels(picture: tuple[int, int], expected: tuple[int, int]):
    assert Settings(prompt="", size=640).dimensions(Image.new("RGB", picture)) == expected


def test_there_is_nothing_to_compare_without_a_speed_up():
    assert Settings(prompt="", compare=True, speedup=2.0).compares
    assert not Settings(prompt="", compare=True, speedup=1.0).compares
