"""The nodes outside of ComfyUI's executor: called from a plain script, as exported workflows and other packs do."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from magcache.comfyui.extension import MagCacheExtension
from magcache.comfyui.nodes.calibration import MagCacheCalibration
from magcache.comfyui.nodes.compile import CompileModel
from magcache.comfyui.nodes.results import MagCacheCompare, MagCacheReport
from magcache.comfyui.nodes.speed import MagCache, MagCacheAuto
from magcache.comfyui.patch import patch_of
from magcache.runtime.calibration_mode import CalibrationMode
from magcache.runtime.modes import ThresholdMode
from magcache.settings import ThresholdSettings

from .runs import sample
from .tiny import Tiny


def node(kind: Any) -> Any:
    """What a script makes of NODE_CLASS_MAPPINGS."""
    return kind()


def run(kind: Any, **inputs: Any) -> Any:
    """As exported scripts call a node, whatever its function is named."""
    made = node(kind)
    return getattr(made, made.FUNCTION)(**inputs)


def test_a_graph_as_a_plain_script(flux: Tiny, curves_folder: Path):
    (calibrating,) = run(MagCacheCalibration, model=flux.model, model_type="auto").result
    sample(flux, calibrating, count=16)
    (curve,) = curves_folder.glob("*.json")
    (model,) = run(MagCacheAuto, model=flux.model, speedup=2.0).result
    latent = sample(flux, model, count=16)
    figure, text, after = run(MagCacheReport, model=model, after=latent).result
    assert "reused" in text and curve.stem in text and figure.ndim == 4 and after is latent
    (by_rule,) = run(MagCache, model=flux.model, model_type="flux", magcache_thresh=0.24, retention_ratio=0.1, magcache_K=5).result
    picture = torch.rand(1, 32, 32, 3)
    assert run(MagCacheCompare, reference=picture, images=picture, gain=8).result[2] == 100
    (compiled,) = run(CompileModel, model=by_rule, mode="default", backend="eager", fullgraph=False, dynamic=False).result
    sample(flux, compiled, count=12)
    assert [report.reused > 0 for report, _ in patch_of(by_rule).history] == [True]


def test_every_node_can_be_made_and_called_without_hidden_inputs():
    for kind in asyncio.run(MagCacheExtension().get_node_list()):
        assert callable(getattr(node(kind), kind.FUNCTION))


@pytest.mark.parametrize("by_name", [True, False])
def test_the_published_methods_are_there(flux: Tiny, by_name: bool):
    values = {"model": flux.model, "model_type": "flux", "magcache_thresh": 0.24, "retention_ratio": 0.1, "magcache_K": 5}
    more = {**values, "start_step": 2, "end_step": -2}
    expected = ThresholdMode("flux", ThresholdSettings(threshold=0.24, max_skip=5, retention=0.1, start_step=2, end_step=-2))
    (model,) = node(MagCache).apply_magcache(**more) if by_name else node(MagCache).apply_magcache(*more.values())
    assert patch_of(model).mode == expected
    (four,) = node(MagCache).apply_magcache(**values) if by_name else node(MagCache).apply_magcache(*values.values())
    assert patch_of(four).mode == ThresholdMode("flux", ThresholdSettings(threshold=0.24, max_skip=5, retention=0.1))

    values = {"model": flux.model, "model_type": "flux_calibration"}
    (model,) = node(MagCacheCalibration).apply_magcache(**values) if by_name else node(MagCacheCalibration).apply_magcache(*values.values())
    assert isinstance(patch_of(model).mode, CalibrationMode)

    values = {"model": flux.model, "mode": "default", "backend": "eager", "fullgraph": False, "dynamic": False}
    (model,) = node(CompileModel).apply_compile(**values) if by_name else node(CompileModel).apply_compile(*values.values())
    assert model is not flux.model and model.model_options["torch_compile_kwargs"]["backend"] == "eager"


def test_a_script_of_its_own_imports_the_nodes_without_a_server(tmp_path: Path):
    """In a process that never imported ComfyUI's server, as a script is."""
    import comfy.samplers

    comfyui, package = Path(comfy.samplers.__file__).parents[1], Path(__file__).parents[2]
    code = (
        "import sys; sys.path[:0] = PATHS\n"
        "import comfy.cli_args; comfy.cli_args.args.cpu = True\n"
        "import utils.install_util\n"
        "from magcache.comfyui.nodes.speed import MagCache\n"
        "print(MagCache().FUNCTION)\n"
    ).replace("PATHS", repr([str(comfyui), str(package)]))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.strip().endswith("EXECUTE_NORMALIZED"), done.stderr
