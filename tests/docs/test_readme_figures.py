"""Every figure that the READMEs state about speed and quality is the one in `benchmarks/results`, and every limit that of the code."""

from __future__ import annotations

import json
import re
from math import prod
from statistics import fmean
from typing import Any

import pytest

from magcache.planning.fewer_steps import SHORT_RUN
from magcache.server.launch import FLOOR, NEWEST
from magcache.settings import FEW_STEPS

from .snippets import DOCS
from .test_readme import FILES

ROOT = DOCS.parent
RESULTS = ROOT / "benchmarks" / "results"
METHODS = (
    "MagCache", "MagCache, propagation assumed", "diffusers SeaCache", "diffusers TaylorSeer lite", "published rule",
    "plain sampling, fewer steps",
)  # fmt: skip
"""The rows of the table of quality, in its order."""
TARGETS = {"image": (14, 11, 9), "video": (15, 12, 10), "emoji": (14, 11, 9)}
"""Its columns: evaluations that run the blocks."""
CELL = re.compile(r"([\d.]+) / ([\d.]+)(?: at ([\d.]+)×|（([\d.]+)×）)?")


def results(name: str) -> dict[str, Any]:
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def text(language: str) -> str:
    return (ROOT / FILES[language]).read_text(encoding="utf-8")


def flat(language: str) -> str:
    """The text without line breaks and emphasis."""
    return " ".join(text(language).replace("**", "").split())


def table(language: str, header: str) -> list[list[str]]:
    """Cells of the rows of the table whose first line holds `header`."""
    lines = text(language).splitlines()
    first = next(place for place, line in enumerate(lines) if header in line and lines[place + 1].startswith("| ---"))
    rows: list[list[str]] = []
    for line in lines[first + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip().replace("**", "") for cell in line.strip("|").split("|")])
    return rows


def quality(kind: str, method: str, target: int) -> tuple[float, float, float]:
    """Mean and worst PSNR, and steps per evaluation, as measured."""
    measured = results("quality")[kind]
    (score,) = [each for each in measured["scores"] if (each["method"], each["target"]) == (method, target)]
    return fmean(score["psnr"]), min(score["psnr"]), measured["setting"]["steps"] / score["nfe"]


@pytest.mark.parametrize("language", FILES)
def test_the_table_of_quality_is_what_was_measured(language: str):
    rows = table(language, "3.1×")
    assert len(rows) == len(METHODS)
    columns = [(kind, target) for kind, targets in TARGETS.items() for target in targets]
    steps = {kind: results("quality")[kind]["setting"]["steps"] for kind in TARGETS}
    for method, row in zip(METHODS, rows, strict=True):
        for (kind, target), cell in zip(columns, row[1:], strict=True):
            found = CELL.fullmatch(cell)
            assert found is not None, cell
            mean, worst, speedup = quality(kind, method, target)
            assert (found[1], found[2]) == (f"{mean:.1f}", f"{worst:.1f}"), (method, kind, target)
            other = found[3] or found[4]
            shown = f"{speedup:.1f}" if round(speedup, 1) != round(steps[kind] / target, 1) else None
            assert other == shown, (method, kind, target)


@pytest.mark.parametrize("language", FILES)
def test_what_the_demos_model_reaches_with_the_shipped_propagation_is_what_was_measured(language: str):
    shown = ["{:.1f} / {:.1f}".format(*quality("emoji", "MagCache, propagation shipped", target)[:2]) for target in TARGETS["emoji"]]
    section = next(part for part in flat(language).split("## ") if "quality.png" in part)
    assert re.findall(r"[\d.]+ / [\d.]+", section.split("|")[-1]) == shown


def test_what_the_docs_say_of_a_third_kind_is_what_was_measured():
    kinds = ("MagCache, propagation shipped", "MagCache")
    nearer = [
        shipped - thorough
        for shipped, thorough in zip(*([quality("emoji", kind, n)[0] for n in TARGETS["emoji"]] for kind in kinds), strict=True)
    ]
    assert f"{min(nearer):.1f} to {max(nearer):.1f} dB nearer" in (DOCS / "how_it_works.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("language", FILES)
def test_the_columns_are_steps_per_evaluation(language: str):
    head = next(line for line in text(language).splitlines() if line.startswith("| |") and "3.1×" in line)
    steps = {kind: results("quality")[kind]["setting"]["steps"] for kind in TARGETS}
    assert re.findall(r"([\d.]+)×", head) == [
        f"{steps[kind] / target:.1f}".removesuffix(".0") for kind in TARGETS for target in TARGETS[kind]
    ]


@pytest.mark.parametrize("language", FILES)
def test_what_the_head_says_of_pictures_is_what_was_measured(language: str):
    methods = ("MagCache", "plain sampling, fewer steps")
    measured = [quality(model, method, nfe)[0] for method in methods for model, nfe in (("image", 14), ("video", 15), ("emoji", 14))]
    (item,) = re.findall(r"2×.*?\(docs/benchmarks\.md\)", flat(language).split("```")[0])
    assert re.findall(r"\d\d\.\d", item) == [f"{each:.1f}" for each in measured]


@pytest.mark.parametrize("language", FILES)
def test_what_the_head_says_of_a_gpu_is_what_was_measured(language: str):
    figures, head = results("gpu")["flux"]["figures"], flat(language).split("```")[0]
    for run in ("eager/2x", "eager/3x"):
        assert f"{figures[run]['measured_speedup']:.2f}×" in head
        assert re.search(rf"\b{figures[run]['evaluations_computed']}\b", head, re.ASCII)
    (item,) = re.findall(r"- (?:(?!- ).)*gpu\.json", head)
    numbers = set(re.findall(r"\d+(?:\.\d+)?", item.split("](")[0]))
    steps, side = figures["eager/without"]["steps"], results("gpu")["flux"]["dimensions"]["latent"][2] * 8
    assert {str(steps), str(side), "14", "9", "1.92", "2.88"} <= numbers and "H200" in results("gpu")["flux"]["machine"]["gpu"]


@pytest.mark.parametrize("language", FILES)
def test_the_table_of_the_demo_is_what_its_last_run_measured(language: str):
    """`benchmarks/results/demo.json` is the `result.json` of that run."""
    demo = results("demo")
    seconds, cached, plain = demo["seconds_per_run"], demo["magcache"], demo["plain_with_as_few_steps"]
    full, magcache, fewer = table(language, "SSIM")
    assert full[1:3] == [str(demo["steps"]), f"{seconds['full']:.2f}"]
    for row, way, found in ((magcache, "cached", cached), (fewer, "fewer", plain)):
        assert row[1] == str(demo["nfe"])
        assert re.match(r"[\d.]+", row[2])[0] == f"{seconds[way]:.2f}"  # type: ignore[index]
        assert row[3] == f"{found['psnr_mean']:.1f} / {found['psnr_worst']:.1f} dB"
        assert row[4] == f"{found['ssim_mean']:.3f} / {found['ssim_worst']:.3f}"
    assert f"{demo['measured_speedup']:.2f}×" in magcache[2]
    assert f"{demo['predicted_speedup']:.2f}×" in flat(language)


@pytest.mark.parametrize("language", FILES)
def test_the_demo_is_described_as_it_is(language: str):
    demo, workflow = results("demo"), json.loads((ROOT / "magcache/demo/workflows/text_to_image.json").read_text(encoding="utf-8"))
    data = (ROOT / "magcache/demo/checkpoints/magcache_demo_flux.safetensors").read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    numbers = sum(prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__")
    each = workflow["latent"]["inputs"]["batch_size"]
    assert demo["pictures"] == demo["prompts"] * each
    section = next(part for part in text(language).split("\n## ") if "CFG" in part)
    figures = re.findall(r"\d+(?:\.\d+)*", section.split("| ")[0])
    wanted = {
        f"{numbers / 1e6:.1f}",
        str(demo["steps"]),
        str(workflow["sampler"]["inputs"]["cfg"]),
        NEWEST,
        str(demo["prompts"]),
        str(each),
        "128",
    }
    assert set(figures) == wanted


@pytest.mark.parametrize("language", FILES)
def test_the_caption_of_the_picture_is_of_that_run(language: str):
    demo = results("demo")
    caption = next(line for line in text(language).splitlines() if line.startswith("*"))
    numbers = re.findall(r"\d+(?:\.\d+)?", caption)
    assert numbers == [str(demo["steps"]), str(demo["nfe"]), f"{demo['measured_speedup']:.1f}", str(demo["nfe"])]


@pytest.mark.parametrize("language", FILES)
def test_limits_and_versions_are_those_of_the_code(language: str):
    found = flat(language)
    assert f"ComfyUI {FLOOR}" in found and f"ComfyUI {NEWEST}" in found
    section = next(part for part in text(language).split("\n## ") if "Lightning" in part)
    numbers = re.findall(r"\d+", re.sub(r"\]\([^)]*\)", "", section))
    assert numbers and set(numbers) == {str(SHORT_RUN), str(FEW_STEPS)}


def test_the_size_of_the_environments_is_said_once():
    install = (DOCS / "install.md").read_text(encoding="utf-8")
    sizes = {match[1] for match in re.finditer(r"\| ([\d.]+) GB, measured on Linux", install)}
    assert len(sizes) == 4
    for language in FILES:
        assert set(re.findall(r"([\d.]+)(?: and [\d.]+)? GB", flat(language))) <= sizes
