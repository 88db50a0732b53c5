"""`magcache tune` that is done, without a server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from magcache.cli.main import app
from magcache.server.workflow import digest

from .calls import refused, runner

WORKFLOW: dict[str, Any] = {"1": {"class_type": "KSampler", "inputs": {"steps": 20}}}
NOWHERE = "http://127.0.0.1:1"


def row(nfe: int) -> dict[str, Any]:
    measured = {"seconds": 1.5, "speedup": 2.0, "psnr_mean": 41.0, "psnr_worst": 40.0, "ssim_mean": 0.99, "ssim_worst": 0.98, "met": True}
    return {"number": 0, "setting": {"speedup": 2.0}, "nfe": nfe, "predicted_speedup": 20 / nfe, **measured}


@pytest.fixture
def workflow(tmp_path: Path) -> Path:
    path = tmp_path / "flux.json"
    path.write_text(json.dumps(WORKFLOW))
    return path


def done(workflow: Path, folder: str = "flux.tune", *, nfe: int = 10, chosen: bool = True, **asked: Any) -> dict[str, Any]:
    """Leave the report of a search that ended."""
    tuned, place = workflow.with_name("flux.tuned.json"), workflow.with_name(folder)
    tuned.write_text("{}")
    facts = {
        "workflow": workflow.name,
        "goal": {"min_psnr": 35.0, "max_seconds": None},
        "seconds_all_steps": 3.0,
        "trials": [row(nfe)],
        "front": [0],
        "confirmed_on_fresh_seeds": [row(nfe)],
        "chosen": row(nfe) if chosen else None,
        "asked": {"workflow": digest(WORKFLOW), "goal": "at least 35 dB", "trials": 30, "seeds": 2, "servers": [NOWHERE], **asked},
        **({"tuned_workflow": str(tuned), "presets": {NOWHERE: ["flux"]}} if chosen else {}),
    }
    place.mkdir(exist_ok=True)
    (place / "result.json").write_text(json.dumps(facts))
    return facts


def test_it_shows_what_was_found_and_does_not_measure_again(workflow: Path):
    facts = done(workflow)
    result = runner.invoke(app, ["tune", str(workflow), "--server", NOWHERE])
    assert result.exit_code == 0, result.output
    said = " ".join(result.stderr.split())
    assert "This is done: nothing was measured again." in said and f"To measure anew, delete {workflow.with_name('flux.tune')} or" in said
    assert "Chosen: speedup 2.0" in result.stdout and "flux.tuned.json" in result.stdout
    assert json.loads(runner.invoke(app, ["tune", str(workflow), "--server", NOWHERE, "--json"]).stdout) == facts


def test_it_is_found_among_several_reports(workflow: Path):
    done(workflow, goal="at least 40 dB")
    done(workflow, "flux.tune-2")
    assert runner.invoke(app, ["tune", str(workflow), "--server", NOWHERE]).exit_code == 0


@pytest.mark.parametrize("option", [("--trials", "31"), ("--seeds", "3"), ("--min-psnr", "36"), ("--max-seconds", "2")])
def test_another_question_is_measured(option: tuple[str, str], workflow: Path):
    """As far as the server, which is not there."""
    done(workflow)
    assert "No ComfyUI answers" in refused("tune", str(workflow), "--server", NOWHERE, *option)


def test_another_workflow_is_measured(workflow: Path):
    done(workflow)
    workflow.write_text(json.dumps({"1": {"class_type": "KSampler", "inputs": {"steps": 21}}}))
    assert "No ComfyUI answers" in refused("tune", str(workflow), "--server", NOWHERE)


def test_a_tuned_workflow_that_is_gone_is_made_again(workflow: Path):
    done(workflow)
    workflow.with_name("flux.tuned.json").unlink()
    assert "No ComfyUI answers" in refused("tune", str(workflow), "--server", NOWHERE)


def test_a_search_that_found_nothing_says_so_again(workflow: Path):
    done(workflow, chosen=False)
    assert "No setting of 1 gives at least 35 dB" in refused("tune", str(workflow), "--server", NOWHERE)


def test_settings_that_skip_nothing_are_called_so(workflow: Path):
    done(workflow, nfe=20)
    assert "No setting skips a step" in runner.invoke(app, ["tune", str(workflow), "--server", NOWHERE]).stderr
