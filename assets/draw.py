"""Draws the icon and the banner: a run of the shipped curve of Wan2.1 14B, a bar a step.

    python assets/draw.py

A bar is as high as the residual of its step. Steps that are computed are solid, those that are reused are outlines.
"""

from __future__ import annotations

from itertools import accumulate
from operator import mul
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from magcache import load_curve, plan_budget

NIGHT, RED, PAPER = "#16161d", "#e5383b", "#f5f3f4"
FINE = 4
"""Drawn so many times larger, for smooth edges."""


def draw_steps(pen: ImageDraw.ImageDraw, box: tuple[float, float, float, float], steps: int, last: int, line: float) -> None:
    """The `last` steps of a run at twice the speed, in `box` (left, top, right, bottom)."""
    curve = load_curve("wan2.1_t2v_14B")
    sigmas = curve.sigmas_for(steps)
    decisions = plan_budget(curve, sigmas, nfe=steps // 2).decisions[-last:]
    residuals = list(accumulate(curve.ratios_at(sigmas, "cond"), mul))[-last:]
    left, top, right, bottom = (FINE * edge for edge in box)
    pitch = (right - left) / (last - 0.3)
    for step, (residual, decision) in enumerate(zip(residuals, decisions, strict=True)):
        at, high = left + step * pitch, (bottom - top) * residual / max(residuals)
        fill = RED if decision == "compute" else None
        pen.rounded_rectangle((at, bottom - high, at + 0.7 * pitch, bottom), 0.13 * pitch, fill, RED, round(FINE * line))


def draw_icon() -> Image.Image:
    icon = Image.new("RGBA", (400 * FINE, 400 * FINE))
    pen = ImageDraw.Draw(icon)
    pen.rounded_rectangle((0, 0, *icon.size), 72 * FINE, NIGHT)
    draw_steps(pen, (50, 64, 350, 336), steps=21, last=5, line=11)
    return icon.resize((400, 400), Image.Resampling.LANCZOS)


def draw_banner() -> Image.Image:
    banner = Image.new("RGB", (1680 * FINE, 720 * FINE), NIGHT)
    pen = ImageDraw.Draw(banner)
    title, line = (ImageFont.load_default(size * FINE) for size in (150, 44))
    pen.text((98 * FINE, 60 * FINE), "MagCache", PAPER, title)
    pen.text((106 * FINE, 268 * FINE), "Diffusion transformers, 2 to 3 times faster", PAPER, line)
    draw_steps(pen, (106, 400, 1574, 640), steps=28, last=28, line=4)
    return banner.resize((1680, 720), Image.Resampling.LANCZOS)


if __name__ == "__main__":
    folder = Path(__file__).parent
    draw_icon().save(folder / "icon.png", optimize=True)
    draw_banner().save(folder / "banner.png", optimize=True)
