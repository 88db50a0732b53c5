"""What stands on a node, from real runs: why nothing was skipped, and that nothing stays there that is no longer true."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from comfy_api.latest import io
from comfy_extras.nodes_easycache import EasyCacheNode, LazyCacheNode

from magcache.comfyui import base_model, notify
from magcache.comfyui import run as sampling
from magcache.comfyui.nodes import speed
from magcache.comfyui.nodes.calibration import MagCacheCalibration
from magcache.runtime import forward

from .runs import sample
from .tiny import Tiny


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is sent to the nodes, each text in one line."""
    texts: list[str] = []

    class Server:
        def send_progress_text(self, text: str, node: str) -> None:
            texts.append(" ".join(text.split()))

        def send_sync(self, event: str, data: dict[str, Any]) -> None:
            pass

    monkeypatch.setattr(notify.PromptServer, "instance", Server(), raising=False)
    return texts


def node(kind: type[io.ComfyNode]) -> Any:
    return kind.PREPARE_CLASS_CLONE({"hidden_inputs": {io.Hidden.unique_id: "7"}})


def published(model: Any, model_type: str = "flux", threshold: float = 0.24, retention: float = 0.1, **more: Any) -> Any:
    return node(speed.MagCache).execute(model, model_type, threshold, retention, 5, **more).args[0]


def auto(model: Any, speedup: float = 2.0, **more: Any) -> Any:
    return node(speed.MagCacheAuto).execute(model, speedup, **more).args[0]


def calibrated(flux: Tiny) -> None:
    sample(flux, node(MagCacheCalibration).execute(flux.model, "auto", "").args[0], count=20)


# The six situations


def test_no_curve_yet(flux: Tiny, shown: list[str]):
    sample(flux, published(flux.model, "auto"), count=12)
    assert shown[-1] == (
        "Nothing was skipped. There is no curve for this model (flux) yet. Run it once with MagCache Calibration, or use MagCache Auto, "
        "which measures a model by itself."
    )


def test_an_architecture_that_is_not_known_and_cannot_be_skipped(flux: Tiny, shown: list[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(base_model, "FAMILIES", ())
    monkeypatch.setattr(sampling, "FAMILIES", ())
    monkeypatch.setattr(forward, "same_tokens", lambda pairs, device: torch.tensor(False))
    sample(flux, auto(flux.model), count=12)
    assert shown[-1].startswith("Nothing was calibrated")
    monkeypatch.setattr(speed, "check_architecture", lambda model, curve: None)
    sample(flux, published(flux.model), count=20)
    assert shown[-1] == (
        "MagCache does not know this kind of model (Flux). It tried a skip, which did not give the right result, so it computed every "
        "step. Remove other nodes from the model. If that does not help, this model cannot be skipped."
    )


def test_a_start_after_the_end(flux: Tiny, shown: list[str]):
    sample(flux, published(flux.model, start_step=15, end_step=10), count=20)
    assert shown[-1] == (
        "Nothing was skipped. Skipping may begin at step 15 but must end at step 10 (steps count from 0, the last one is 19). Let the "
        "start lie before the end: start_step and end_step, or start_percent and end_percent."
    )
    sample(flux, auto(flux.model, curve="flux", start_percent=0.7, end_percent=0.4), count=20)
    assert shown[-1].startswith("Nothing was skipped. Skipping may begin at 70% of the schedule but must end at 40% of it. Let the start")


def test_more_than_is_possible(flux: Tiny, shown: list[str]):
    calibrated(flux)
    sample(flux, auto(flux.model, 4.0, start_percent=0.3), count=20)
    assert "computed · " in shown[-1] and "You asked for 4.0×. In 20 steps " in shown[-1]
    assert "× is possible, because only steps between 30% and 100% of the schedule may be skipped. Lower start_percent" in shown[-1]
    sample(flux, auto(flux.model, 4.0), count=12)
    assert "You asked for 4.0×. In 12 steps " in shown[-1]


@pytest.mark.parametrize(("cache", "name"), [(EasyCacheNode, "EasyCache"), (LazyCacheNode, "LazyCache")])
@pytest.mark.parametrize("count", [4, 20])
@pytest.mark.parametrize("kind", [published, auto])
def test_another_cache(flux: Tiny, shown: list[str], cache: Any, name: str, count: int, kind: Callable[[Any], Any]):
    sample(flux, kind(cache.execute(flux.model, 0.3, 0.0, 1.0, False).args[0]), count=count)
    if kind is published or count == 4:
        assert shown[-1] == f"{name} is on this model too, so MagCache computed every step. Remove one of the two."
    else:
        assert shown[-1] == f"Nothing was calibrated, because {name} is on this model too. Remove one of the two."


def test_a_short_run(flux: Tiny, shown: list[str]):
    sample(flux, auto(flux.model), count=4)
    assert shown[-1] == (
        "Nothing was skipped. There is no curve for this model (flux) yet, and a run of 4 steps is too short to measure one: it takes 10. "
        "Run it once with 10 steps or more. A model made for few steps (Lightning, schnell) leaves little to skip."
    )
    sample(flux, auto(flux.model, curve="flux"), count=4)
    assert shown[-1].startswith("Nothing was skipped. The run has 4 steps, and its first steps and its last one are always computed.")
    sample(flux, published(flux.model, threshold=1e-4), count=4)
    assert shown[-1].startswith(
        "Nothing was skipped. Every skip would exceed the threshold: it is 0.0001, and the least error of a skip is "
    )


# Nothing stays that is no longer true


def test_the_speedup_comes_first(flux: Tiny, shown: list[str]):
    sample(flux, published(flux.model), count=20)
    assert "faster" in shown[-1].split(" · ")[0] and " of 20 steps computed · " in shown[-1]
    assert not [word for word in ("NFE", "residual", "reused", "evaluation") if word in shown[-1]]


@pytest.mark.parametrize(
    "off",
    [
        lambda model: published(model, threshold=0.0),
        lambda model: node(speed.MagCache).execute(model, "flux", 0.2, 0.2, 0).args[0],
        lambda model: auto(model, 1.0),
    ],
)
@pytest.mark.parametrize("behind", [False, True])
def test_switched_off_says_so_in_place_of_what_stood_there(flux: Tiny, shown: list[str], off: Any, behind: bool):
    model = published(flux.model)
    sample(flux, model, count=20)
    assert "faster" in shown[-1]
    off(model if behind else flux.model)
    assert shown[-1] == "switched off: every step is computed"


def test_a_node_that_was_changed_does_not_show_its_last_run(flux: Tiny, shown: list[str]):
    sample(flux, published(flux.model), count=20)
    published(flux.model, threshold=0.1)
    assert shown[-1] == "waits for the sampler"


def test_a_node_that_fails_shows_why(flux: Tiny, shown: list[str]):
    sample(flux, published(flux.model), count=20)
    with pytest.raises(ValueError, match="measured on wan"):
        published(flux.model, "wan2.1_t2v_1.3B")
    assert "measured on wan" in shown[-1]
    sample(flux, published(flux.model), count=20)
    with pytest.raises(ValueError, match="threshold is -1"):
        published(flux.model, threshold=-1.0)
    assert "threshold is -1" in shown[-1]


def test_a_run_that_fails_before_its_first_step_does_not_show_the_last_one(flux: Tiny, shown: list[str], monkeypatch: pytest.MonkeyPatch):
    model = published(flux.model)
    sample(flux, model, count=20)

    def fail(*_: Any) -> None:
        raise RuntimeError("for the test")

    monkeypatch.setattr("magcache.comfyui.patch.run_facts", fail)
    with pytest.raises(RuntimeError, match="for the test"):
        sample(flux, model, count=20)
    assert shown[-1] == "the sampling begins"
