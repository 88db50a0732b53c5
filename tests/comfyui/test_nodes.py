"""The speed: what they accept, what they refuse, and what they tell."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from comfy_api.latest import io

from magcache.comfyui import notify
from magcache.comfyui.nodes import speed
from magcache.comfyui.nodes.calibration import MagCacheCalibration
from magcache.curves.shipped import known_curves
from magcache.errors import CurveError, ModelMismatchError, SettingsError, UnknownCurveError
from magcache.runtime import modes

from .runs import by_rule, sample
from .tiny import Tiny, sd3


def apply(model: Any, model_type: str = "flux", threshold: float = 0.24, retention: float = 0.1, max_skip: int = 5, **more: Any) -> Any:
    """The MagCache node as ComfyUI runs it: as a clone of its class that knows the node's number."""
    node: Any = speed.MagCache.PREPARE_CLASS_CLONE({"hidden_inputs": {io.Hidden.unique_id: "7"}})
    return node.execute(model, model_type, threshold, retention, max_skip, **more).args[0]


@pytest.fixture(autouse=True)
def information(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="magcache")


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "magcache" and record.levelno == logging.WARNING]


@pytest.mark.parametrize("off", [{"threshold": 0.0}, {"max_skip": 0}])
def test_switched_off_it_returns_the_very_same_model(flux: Tiny, off: dict[str, Any]):
    assert apply(flux.model, **off) is flux.model


def test_a_run_skips_and_says_how_it_went(flux: Tiny, caplog: pytest.LogCaptureFixture):
    result = sample(flux, apply(flux.model), count=20)
    assert not torch.equal(result, sample(flux, count=20))
    lines = [record.getMessage() for record in caplog.records if record.name == "magcache"]
    assert len(lines) == 1
    assert " of 20 steps computed · " in lines[0]
    assert "curve flux" in lines[0]
    assert "not safe" not in lines[0]


def test_the_node_tells_the_browser_too(flux: Tiny, monkeypatch: pytest.MonkeyPatch):
    shown: list[tuple[str, str]] = []
    sent: list[tuple[str, dict[str, Any]]] = []

    class Server:
        def send_progress_text(self, text: str, node: str) -> None:
            shown.append((text, node))

        def send_sync(self, event: str, data: dict[str, Any]) -> None:
            sent.append((event, data))

    monkeypatch.setattr(notify.PromptServer, "instance", Server(), raising=False)
    sample(flux, apply(flux.model), count=20)
    assert {node for _, node in shown} == {"7"}
    assert "faster" in shown[-1][0].splitlines()[0]
    assert all(len(line) <= 40 for text, _ in shown for line in text.splitlines()), "the frontend would break words"
    ((event, data),) = sent
    assert (event, data["node"]) == ("magcache.report", "7") and "reuse" in data["report"]["decisions"]


def test_full_retention_computes_every_step(flux: Tiny, caplog: pytest.LogCaptureFixture):
    assert torch.equal(sample(flux, apply(flux.model, retention=1.0), count=12), sample(flux, count=12))
    assert len(warnings(caplog)) == 1
    assert "Nothing was skipped" in warnings(caplog)[0]


def test_a_run_of_few_steps_says_that_nothing_was_skipped_and_why(flux: Tiny, caplog: pytest.LogCaptureFixture):
    assert torch.equal(sample(flux, apply(flux.model, threshold=1e-4)), sample(flux))
    assert len(warnings(caplog)) == 1
    assert "Nothing was skipped. Every skip would exceed the threshold" in warnings(caplog)[0]


@pytest.mark.parametrize(
    ("inputs", "error", "message"),
    [
        ({"threshold": -1.0}, SettingsError, "threshold is -1"),
        ({"retention": 1.5}, SettingsError, "retention is 1.5"),
        ({"max_skip": -1}, SettingsError, "max_skip"),
        ({"start_step": -1}, SettingsError, "start step"),
        ({"model_type": "wan2.1_t2v_1.3B"}, ModelMismatchError, "measured on wan, but this model is flux. Choose 'auto' or one of: flux"),
        ({"model_type": "sdxl"}, UnknownCurveError, "'sdxl'.*Known: chroma, flux"),
    ],
)
def test_wrong_inputs_are_refused_with_a_helpful_message(flux: Tiny, inputs: dict[str, Any], error: type[Exception], message: str):
    with pytest.raises(error, match=message):
        apply(flux.model, **inputs)


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"format": "magcache.curve", "version": 99}', '{"format": "magcache.curve", "version": 1}']
)
def test_a_broken_curve_file_is_an_error_when_chosen(flux: Tiny, curves_folder: Path, content: str):
    (curves_folder / "broken.json").write_text(content)
    with pytest.raises(CurveError, match="broken"):
        apply(flux.model, "broken")


def test_a_broken_curve_file_is_passed_over_with_a_warning_under_auto(
    flux: Tiny, curves_folder: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    (curves_folder / "broken.json").write_text("{")
    monkeypatch.setitem(flux.model.model.model_config.unet_config, "hidden_size", 3072)  # So that auto takes it for Flux dev.
    model, log = by_rule(flux.model, "auto")
    sample(flux, model, count=20)
    assert [text for text in warnings(caplog) if "ignores a curve file" in text and "broken.json" in text]
    assert log.reports[0].label.curve == "flux"
    assert log.reports[0].reused > 0


def test_a_model_that_was_never_measured_runs_in_full_with_one_warning(flux: Tiny, caplog: pytest.LogCaptureFixture):
    assert torch.equal(sample(flux, apply(flux.model, "auto"), count=12), sample(flux, count=12))
    assert [text for text in warnings(caplog) if "There is no curve for this model" in text]


def test_a_model_without_a_curve_runs_in_full(caplog: pytest.LogCaptureFixture):
    tiny = sd3()
    result = sample(tiny, apply(tiny.model, "auto"), cfg=3.0)
    assert torch.equal(result, sample(tiny, cfg=3.0))


def test_another_curve_than_the_models_own_is_remarked_on(flux: Tiny, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(flux.model.model.model_config.unet_config, "hidden_size", 3072)
    sample(flux, apply(flux.model, "flux_kontext"), count=12)
    assert not [text for text in warnings(caplog) if "looks like" in text], "Kontext without a picture cannot be told from Flux"
    monkeypatch.setattr(modes, "known_curves", lambda: ["chroma"])
    model, _ = by_rule(flux.model, "chroma")
    sample(flux, model, count=12)
    assert [text for text in warnings(caplog) if "the curve chroma was chosen, but the model looks like flux" in text]


def test_every_shipped_curve_can_be_chosen():
    for node in (speed.MagCache, MagCacheCalibration):
        options = {each.id: getattr(each, "options", None) for each in node.define_schema().inputs}["model_type"]
        assert options[0] == "auto"
        assert set(known_curves()) - set(options) == {"framepack", "framepack_f1"}, "ComfyUI cannot load this model"
    assert {"flux_calibration", "flux_kontext_calibration", "chroma_calibration"} <= set(options)
