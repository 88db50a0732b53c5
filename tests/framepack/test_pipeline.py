"""Weights are found and loaded from the places where people have them; what is not there is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from magcache.framepack.generation import generate
from magcache.framepack.model import Model
from magcache.framepack.pipeline import load
from magcache.framepack.weights import Weights, WeightsError, check_part, find_weights

from .saved import save_parts, save_whole
from .studio import STEPS, Watcher, make, same, task


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_whole(tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return save_parts(tmp_path_factory.mktemp("parts"))


def video(model: Model, **settings) -> object:
    return generate(model, task(seconds=0.1, steps=2, **settings), 1.0, Watcher()).frames


def test_whole_and_in_parts_give_the_same_video(whole: Path, parts: dict[str, Path]):
    one = load(find_weights(str(whole)))
    two = load(find_weights(str(parts["weights"])), str(parts["base"]), str(parts["vision"]))
    assert same(video(one), video(two))
    assert not same(video(one), video(one, prompt="snow"))
    assert not same(video(one, true_cfg_scale=5.0, negative_prompt="a"), video(one, true_cfg_scale=5.0, negative_prompt="snow"))


def test_the_real_vae_can_be_told_to_tile(whole: Path, tmp_path: Path):
    from .studio import new_studio, submitted, wait_until

    studio = new_studio(tmp_path, load(find_weights(str(whole))))
    studio.start()
    for tiling in (True, False):
        job = submitted(studio, seconds=0.1, steps=1, tiling=tiling)
        wait_until(lambda job=job: job.over)
        assert job.state == "done", job.message
        assert studio.model.pipe.vae.use_tiling == studio.model.pipe.vae.use_slicing == tiling
    studio.close()


@pytest.mark.parametrize(
    ("place", "is_f1"),
    [
        ("lllyasviel/FramePack_F1_I2V_HY_20250503", True), ("lllyasviel/FramePackI2V_HY", False), ("/models/framepack-f1", True),
        ("/home/half1/models", False), ("C:\\f16\\FramePack", False),
    ],
)  # fmt: skip
def test_f1_is_known_by_its_name(place: str, is_f1: bool):
    assert Weights(place, whole=False).looks_like_f1 == is_f1


def test_f1_makes_the_beginning_first(whole: Path):
    by_default, forward = load(find_weights(str(whole))), load(find_weights(str(whole)), forward=True)
    assert (by_default.sampling_type, forward.sampling_type) == ("inverted_anti_drifting", "vanilla")
    assert "F1" in forward.title and "F1" not in by_default.title


def changed(folder: Path, tmp_path: Path, **changes: object) -> str:
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in folder.iterdir():
        if path.is_file():
            (copy / path.name).symlink_to(path)
    for name, text in changes.items():
        path = copy / name.replace("_json", ".json")
        path.unlink(missing_ok=True)
        if text is not None:
            path.write_text(str(text))
    return str(copy)


def test_weights_of_something_else_are_named(whole: Path, parts: dict[str, Path], tmp_path: Path):
    with pytest.raises(WeightsError, match="FluxPipeline"):
        find_weights(changed(whole, tmp_path, model_index_json=json.dumps({"_class_name": "FluxPipeline"})))
    with pytest.raises(WeightsError, match="AutoencoderKL"):
        find_weights(changed(parts["weights"], tmp_path / "copy", config_json=json.dumps({"_class_name": "AutoencoderKL"})))


@pytest.mark.parametrize("text", ["{", "[]", "\x00"])
def test_a_broken_configuration_is_named(parts: dict[str, Path], tmp_path: Path, text: str):
    with pytest.raises(WeightsError, match=r"config.json cannot be read"):
        find_weights(changed(parts["weights"], tmp_path, config_json=text))


def test_an_unfinished_download_is_told(parts: dict[str, Path], tmp_path: Path):
    (tmp_path / "config.json").write_text((parts["weights"] / "config.json").read_text())
    with pytest.raises(WeightsError, match="no weights"):
        find_weights(str(tmp_path))
    (tmp_path / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(WeightsError, match="cannot be loaded"):
        load(find_weights(str(tmp_path)), str(parts["base"]), str(parts["vision"]))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("", "does not exist"), (" ", "does not exist"), ("/no/such/folder", "does not exist"), ("missing", "does not exist"),
        ("a/b/c", "does not exist"), ("./nobody/nothing", "does not exist"), ("nobody/nothing", "is no folder"),
    ],
)  # fmt: skip
def test_a_place_that_is_not_there_is_told(given: str, said: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError, match=said):
        find_weights(given)


def test_a_file_is_not_a_folder(parts: dict[str, Path]):
    with pytest.raises(WeightsError, match="Give the folder"):
        find_weights(str(parts["weights"] / "config.json"))


def test_an_empty_folder_is_told(tmp_path: Path):
    with pytest.raises(WeightsError, match="neither a model_index"):
        find_weights(str(tmp_path))


def test_parts_are_checked_too(tmp_path: Path):
    check_part(str(tmp_path), "part")
    check_part("somebody/something", "part")
    with pytest.raises(WeightsError, match="picture encoder"):
        check_part("/no/such/folder", "picture encoder")


def test_magcache_works_on_loaded_weights(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MAGCACHE_CURVES", str(tmp_path))
    model = load(find_weights(str(whole)))
    assert make(model, 2.0).report.reused > 0 and list(tmp_path.iterdir())
    assert make(model, 2.0).report.evaluations == 2 * STEPS
