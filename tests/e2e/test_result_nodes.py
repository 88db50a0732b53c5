"""A workflow with MagCache Report and MagCache Compare, and what the browser is told while it runs."""

from __future__ import annotations

import re
from typing import Any

import pytest

from magcache.demo.run import demo_workflow, with_node
from magcache.reports.figure import HEIGHT, WIDTH
from magcache.reports.metrics import difference, psnr, ssim
from magcache.server.client import Client, Outcome
from magcache.server.workflow import Workflow, WorkflowError

STEPS = 12
RULE = {"model_type": "flux", "magcache_thresh": 0.24, "retention_ratio": 0.1, "magcache_K": 5}


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs}


def compared(seed: int, steps: int = STEPS) -> Workflow:
    """Sampled in full and with MagCache, compared, with a report."""
    workflow = demo_workflow("a red star on sand", seed, steps)
    workflow["latent"]["inputs"].update(width=128, height=128, batch_size=2)
    full = workflow["sampler"]["inputs"]
    workflow["magcache"] = node("MagCache", model=full["model"], model_type="flux", magcache_thresh=0.24, retention_ratio=0.1, magcache_K=5)
    workflow["fast sampler"] = node("KSampler", **{**full, "model": ["magcache", 0]})
    workflow["fast"] = node("MagCacheDemoDecode", samples=["fast sampler", 0])
    workflow["report"] = node("MagCacheReport", model=["magcache", 0], after=["fast", 0])
    workflow["compare"] = node("MagCacheCompare", reference=["decode", 0], images=["report", 2], gain=4)
    workflow["save fast"] = node("SaveImage", images=["fast", 0], filename_prefix="fast")
    return workflow


def told(outcome: Outcome, node: str) -> list[str]:
    """What a node showed on itself, without the line breaks that make it fit."""
    return [" ".join(text.split()) for text in outcome.texts[node]]


def test_report_and_comparison_are_shown_and_true(client: Client):
    outcome = client.run(compared(1))
    (report,) = outcome.reports

    shown = outcome.shown["report"]
    (picture,) = [client.picture(place) for place in shown["images"]]
    assert picture.shape == (HEIGHT, WIDTH, 3)
    assert shown["text"][0].startswith(f"{STEPS} evaluations · {STEPS - report['nfe']} reused")
    assert told(outcome, "report") == shown["text"]

    full, fast = ([client.picture(place) for place in outcome.shown[name]["images"]] for name in ("save", "save fast"))
    pairs = list(zip(full, fast, strict=True))
    text = outcome.shown["compare"]["text"][0]
    figures = [float(figure) for figure in re.findall(r"(?:mean|worst) ([\d.]+)", text)]
    decibels, likenesses = [psnr(*pair) for pair in pairs], [ssim(*pair) for pair in pairs]
    assert figures[:4] == pytest.approx([sum(decibels) / 2, min(decibels), sum(likenesses) / 2, min(likenesses)], abs=0.006)
    assert told(outcome, "compare") == [f"PSNR {figures[0]:.2f} dB, worst {figures[1]:.2f} dB · SSIM {figures[2]:.4f}"]
    (worst,) = [client.picture(place) for place in outcome.shown["compare"]["images"]]
    pair = pairs[decibels.index(min(decibels))]
    panel = worst[-4 - 256 : -4, -2 - 256 : -2]
    assert (panel[::8, ::8] == difference(*pair, 4)).all()


def test_the_node_tells_how_the_run_stands_while_it_goes_on(client: Client):
    outcome = client.run(with_node(demo_workflow("a red star on sand", 2, 40), "MagCache", **RULE))
    (report,) = outcome.reports
    *running, last = told(outcome, "magcache")
    assert last.startswith("40 evaluations · ") and "predicted" in last
    found = [re.match(r"(\d+) of 40 steps · (\d+) skipped( · \d\.\d× so far)?$", text) for text in running]
    assert len(found) >= 3 and all(found) and running[0] == "1 of 40 steps · 0 skipped"
    steps, skipped = zip(*((int(each[1]), int(each[2])) for each in found if each), strict=True)
    assert list(steps) == sorted(set(steps)) and list(skipped) == sorted(skipped)
    assert max(skipped) <= 40 - report["nfe"]


def test_a_kept_run_is_reported_again(client: Client):
    """Nothing is sampled anew, whether only the report's inputs change or nothing does: the report is that of the run that was."""
    workflow = compared(3)
    (report,) = client.run(workflow).reports
    del workflow["compare"]
    workflow["report"]["inputs"]["after"] = ["fast sampler", 0]
    again = client.run(workflow)
    assert again.reports == [] and "magcache" not in again.texts
    assert again.shown["report"]["text"][0].startswith(f"{STEPS} evaluations · {STEPS - report['nfe']} reused")
    assert client.run(workflow).shown["report"] == again.shown["report"]


def test_pictures_that_cannot_be_compared_are_refused(client: Client):
    workflow = compared(4, steps=4)
    workflow["latent 2"] = node("EmptySD3LatentImage", width=128, height=128, batch_size=1)
    workflow["fast sampler"]["inputs"]["latent_image"] = ["latent 2", 0]
    with pytest.raises(WorkflowError, match=r"Given 1 picture of .* in 'images', expected 2 pictures of"):
        client.run(workflow)
