"""A workflow with MagCache Report and MagCache Compare, and the texts that nodes show while it runs."""

from __future__ import annotations

import re

import pytest

from magcache.demo.run import demo_workflow, with_node
from magcache.reports.figure import HEIGHT, WIDTH
from magcache.reports.metrics import difference, psnr, ssim
from magcache.server.client import Client, WorkflowResult
from magcache.server.workflow import Workflow, WorkflowError

from .workflows import PUBLISHED, node, small

STEPS = 12


def compared(seed: int, steps: int = STEPS) -> Workflow:
    """Sampled in full and with MagCache, compared, with a report."""
    workflow = small(steps, pictures=2)
    full = workflow["sampler"]["inputs"]
    full["seed"] = seed
    workflow["magcache"] = node("MagCache", model=full["model"], **PUBLISHED)
    workflow["fast sampler"] = node("KSampler", **{**full, "model": ["magcache", 0]})
    workflow["fast"] = node("MagCacheDemoDecode", samples=["fast sampler", 0])
    workflow["report"] = node("MagCacheReport", model=["magcache", 0], after=["fast", 0])
    workflow["compare"] = node("MagCacheCompare", reference=["decode", 0], images=["report", 2], gain=4)
    workflow["save fast"] = node("SaveImage", images=["fast", 0], filename_prefix="fast")
    return workflow


def texts_of(result: WorkflowResult, node: str) -> list[str]:
    """The texts that a node showed on itself, without the line breaks that make them fit."""
    return [" ".join(text.split()) for text in result.texts[node]]


def test_report_and_comparison_are_shown_and_true(client: Client):
    result = client.run(compared(1))
    (report,) = result.reports

    shown = result.outputs["report"]
    (picture,) = [client.fetch_picture(place) for place in shown["images"]]
    assert picture.shape == (HEIGHT, WIDTH, 3)
    assert shown["text"][0].count(f" · {report['nfe']} of {STEPS} steps computed · {STEPS - report['nfe']} skipped · ")
    assert texts_of(result, "report") == shown["text"]

    full, fast = ([client.fetch_picture(place) for place in result.outputs[name]["images"]] for name in ("save", "save fast"))
    pairs = list(zip(full, fast, strict=True))
    text = result.outputs["compare"]["text"][0]
    figures = [float(figure) for figure in re.findall(r"(?:mean|worst) ([\d.]+)", text)]
    decibels, likenesses = [psnr(*pair) for pair in pairs], [ssim(*pair) for pair in pairs]
    assert figures[:4] == pytest.approx([sum(decibels) / 2, min(decibels), sum(likenesses) / 2, min(likenesses)], abs=0.006)
    assert texts_of(result, "compare") == [f"PSNR {figures[0]:.2f} dB, worst {figures[1]:.2f} dB · SSIM {figures[2]:.4f}"]
    (worst,) = [client.fetch_picture(place) for place in result.outputs["compare"]["images"]]
    pair = pairs[decibels.index(min(decibels))]
    panel = worst[-4 - 256 : -4, -2 - 256 : -2]
    assert (panel[::4, ::4] == difference(*pair, 4)).all()


def test_the_node_shows_progress_while_the_run_goes_on(client: Client):
    result = client.run(with_node(demo_workflow("a fox on mint", 2, 40), "MagCache", **PUBLISHED))
    (report,) = result.reports
    *running, last = texts_of(result, "magcache")
    assert " of 40 steps computed · " in last and "predicted" in last
    running.remove("the sampling begins")
    running = [text for text in running if text != "waits for the sampler"]  # Not if the server has kept the node's output.
    found = [re.match(r"(\d+) of 40 steps · (\d+) skipped( · \d\.\d× so far)?$", text) for text in running]
    assert len(found) >= 3 and all(found) and running[0] == "1 of 40 steps · 0 skipped"
    steps, skipped = zip(*((int(each[1]), int(each[2])) for each in found if each), strict=True)
    assert list(steps) == sorted(set(steps)) and list(skipped) == sorted(skipped)
    assert max(skipped) <= 40 - report["nfe"]


def test_a_run_that_the_server_kept_is_reported_again(client: Client):
    """Nothing is sampled again, whether the report's inputs change or not: the report is that of the earlier run."""
    workflow = compared(3)
    (report,) = client.run(workflow).reports
    del workflow["compare"]
    workflow["report"]["inputs"]["after"] = ["fast sampler", 0]
    again = client.run(workflow)
    assert again.reports == [] and "magcache" not in again.texts
    assert again.outputs["report"]["text"][0].count(f" · {report['nfe']} of {STEPS} steps computed · {STEPS - report['nfe']} skipped · ")
    assert client.run(workflow).outputs["report"] == again.outputs["report"]


def test_pictures_that_cannot_be_compared_are_refused(client: Client):
    workflow = compared(4, steps=4)
    workflow["latent 2"] = node("EmptySD3LatentImage", width=128, height=128, batch_size=1)
    workflow["fast sampler"]["inputs"]["latent_image"] = ["latent 2", 0]
    with pytest.raises(WorkflowError, match=r"Given 1 picture of .* in 'images', expected 2 pictures of"):
        client.run(workflow)
