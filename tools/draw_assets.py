"""Draws `assets/icon.png` and `assets/banner.png`: a run at twice the speed by the shipped curve of Wan2.1 14B, one bar a step.

python -m tools.draw_assets
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from magcache import euler_influence, load_curve, plan_budget
from tools.step_bars import FINE, NIGHT, PAPER, Box, draw_steps, residual_sizes

FOLDER = Path(__file__).parents[1] / "assets"


def draw_run(pen: ImageDraw.ImageDraw, box: Box, steps: int, last: int, line: float) -> None:
    """The `last` steps of a run of `steps` steps at twice the speed."""
    curve = load_curve("wan2.1_t2v_14B")
    sigmas = curve.sigmas_for(steps)
    plan = plan_budget(curve, sigmas, nfe=steps // 2, influence=euler_influence(sigmas))
    draw_steps(pen, box, plan.reused[-last:], residual_sizes(curve, sigmas)[-last:], line)


def draw_icon() -> Image.Image:
    icon = Image.new("RGBA", (400 * FINE, 400 * FINE))
    pen = ImageDraw.Draw(icon)
    pen.rounded_rectangle((0, 0, *icon.size), 72 * FINE, NIGHT)
    draw_run(pen, (50, 64, 350, 336), steps=21, last=5, line=11)
    return icon.resize((400, 400), Image.Resampling.LANCZOS)


def draw_banner() -> Image.Image:
    banner = Image.new("RGB", (1680 * FINE, 720 * FINE), NIGHT)
    pen = ImageDraw.Draw(banner)
    title, line = (ImageFont.load_default(size * FINE) for size in (150, 44))
    pen.text((98 * FINE, 60 * FINE), "MagCache", PAPER, title)
    pen.text((106 * FINE, 268 * FINE), "Diffusion transformers, 2 to 3 times faster", PAPER, line)
    draw_run(pen, (106, 400, 1574, 640), steps=28, last=28, line=4)
    return banner.resize((1680, 720), Image.Resampling.LANCZOS)


if __name__ == "__main__":
    draw_icon().save(FOLDER / "icon.png", optimize=True)
    draw_banner().save(FOLDER / "banner.png", optimize=True)
