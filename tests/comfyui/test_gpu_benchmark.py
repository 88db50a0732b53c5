"""The GPU benchmark at its tiny size: the same code on a CPU."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import folder_paths
import pytest
import torch
from torch.profiler import record_function

from benchmarks.gpu.__main__ import ModelName, main
from benchmarks.gpu.measure import GpuBench
from benchmarks.gpu.runs import READ, waits

COMFYUI = Path(folder_paths.__file__).parent


def _run(out: Path, model: ModelName, **options: Any) -> dict[str, Any]:
    main(model=model, out=out, tiny=True, comfyui=COMFYUI, **options)
    return json.loads(out.read_text())[model.value]


@pytest.fixture(scope="module")
def flux(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return _run(tmp_path_factory.mktemp("gpu") / "results" / "gpu.json", ModelName.flux)


@pytest.fixture(scope="module")
def wan(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return _run(tmp_path_factory.mktemp("gpu") / "gpu.json", ModelName.wan)


@pytest.fixture
def entry(request: pytest.FixtureRequest) -> dict[str, Any]:
    return request.getfixturevalue(request.param)


both = pytest.mark.parametrize("entry", ["flux", "wan"], indirect=True)


@both
def test_everything_is_measured(entry: dict[str, Any]):
    assert entry["left_out"] == []
    assert entry["failed"] == {}
    assert {"eager/steps", "eager/waits", "eager/without", "eager/2x", "eager/3x"} <= entry["figures"].keys()
    assert entry["machine"]["gpu"] is None
    assert entry["figures"]["eager/without"]["peak_memory_bytes"] is None


@both
def test_a_skipped_step_runs_no_block(entry: dict[str, Any]):
    steps = entry["figures"]["eager/steps"]
    dimensions = entry["dimensions"]
    stack = dimensions.get("num_layers") or dimensions["depth"] + dimensions["depth_single_blocks"]
    assert steps["blocks_in_full_step"] == stack
    assert steps["blocks_in_skipped_step"] == 0


@both
def test_where_residuals_are_kept_changes_nothing(entry: dict[str, Any]):
    assert entry["figures"]["eager/steps"]["offloaded"]["largest_difference_to_on_device"] == 0.0
    assert entry["figures"]["eager/steps"]["finite"]


@both
def test_magcache_reads_nothing_from_the_device_within_the_loop(entry: dict[str, Any]):
    """Reading a number waits on a GPU. The sampler is recognised, so that sigmas need not be read."""
    figures = entry["figures"]["eager/waits"]
    assert figures["auto_added_per_step"].get(READ, 0.0) == figures["offloaded_added_per_step"].get(READ, 0.0) == 0.0


@both
def test_whole_runs_go_by_their_plan(entry: dict[str, Any]):
    runs = [figures for name, figures in entry["figures"].items() if "evaluations_planned" in figures]
    assert len(runs) >= 4
    for figures in runs:
        assert figures["evaluations"] == entry["dimensions"]["steps"]
        assert figures["evaluations_computed"] == figures["evaluations_planned"]
        assert figures["predicted_speedup"] == figures["evaluations"] / figures["evaluations_planned"]
        assert figures["measured_over_predicted"] == pytest.approx(figures["measured_speedup"] / figures["predicted_speedup"])
        assert figures["residual_bytes"] > 0
    figures = entry["figures"]
    assert figures["eager/2x"]["predicted_speedup"] == 2.0
    assert figures["eager/3x"]["predicted_speedup"] == pytest.approx(3.0, abs=0.12)
    assert figures["eager/2x extrapolated"]["residual_bytes"] == 2 * figures["eager/2x"]["residual_bytes"]


@both
def test_nothing_is_compiled_within_a_timed_run(entry: dict[str, Any]):
    steps = entry["figures"]["compiled/steps"]
    assert steps["warm_up_without"]["graphs"] >= 1
    assert 1 <= steps["warm_up_with"]["graphs"] <= 3
    assert all(figures.get("graphs_compiled", 0) == 0 for figures in entry["figures"].values())


def test_an_interruption_loses_nothing_and_the_rest_can_be_added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def interrupted(*_: Any) -> float:
        raise KeyboardInterrupt

    out = tmp_path / "gpu.json"
    with monkeypatch.context() as patch:
        patch.setattr(GpuBench, "_measured_speedup", interrupted)
        with pytest.raises(KeyboardInterrupt):
            _run(out, ModelName.flux, only="eager")
    before = json.loads(out.read_text())["flux"]
    assert list(before["figures"]) == ["eager/steps", "eager/waits", "eager/without"]
    assert before["left_out"] == ["eager/2x", "eager/3x", "eager/2x extrapolated", "eager/2x offloaded"]
    assert list(tmp_path.glob("*gpu*")) == [out]
    after = _run(out, ModelName.flux, only="eager/3x")
    assert {**after["figures"], "eager/3x": None} == {**before["figures"], "eager/3x": None}
    assert after["figures"]["eager/3x"]["measured_speedup"] > 0


def test_only_what_makes_the_host_wait_is_counted():
    def run(profiler: AbstractContextManager[Any]) -> None:
        with profiler, record_function("cudaStreamSynchronize"), record_function("cudaLaunchKernel"):
            torch.ones(3).sum()

    assert waits(run) == {"cudaStreamSynchronize": 1}


def test_what_does_not_fit_in_the_time_is_listed(tmp_path: Path):
    entry = _run(tmp_path / "gpu.json", ModelName.flux, minutes=0.0)
    assert entry["figures"] == {}
    assert entry["left_out"][0] == "eager/steps"
