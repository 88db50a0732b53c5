"""Draws `docs/skip.svg`, the figure of the README: what a computed and a skipped step do, and a run of 28 steps at twice the speed.

python -m tools.draw_skip
"""

from __future__ import annotations

from pathlib import Path

from magcache import euler_influence, load_curve, plan_budget

FILE = Path(__file__).parents[1] / "docs" / "skip.svg"
CURVE, STEPS = "wan2.1_t2v_14B", 28
_WIDTH, _HEIGHT = 840, 325
_COMPUTED, _REUSED, _PALE, _LINE, _TEXT = "#2563a8", "#f08a24", "#eef2f7", "#8a94a3", "#1d2530"


def drawing() -> str:
    """The figure as SVG."""
    parts = [
        *_row(30, "computed step", [("embedding", 110), ("block 1 … block N", 250), ("last layer", 110)], _COMPUTED),
        *_row(130, "skipped step", [("embedding", 110), ("+ residual of earlier steps", 250), ("last layer", 110)], _REUSED),
        f'<path d="M 561 82 C 561 104, 492 98, 492 126" fill="none" stroke="{_REUSED}" stroke-width="2" stroke-dasharray="5 4"/>',
        _label(574, 111, "their residual is kept", _REUSED),
        *_run(230),
    ]
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}" '
        f'font-family="sans-serif" font-size="15">\n<rect width="{_WIDTH}" height="{_HEIGHT}" rx="8" fill="#ffffff"/>\n{body}\n</svg>\n'
    )


def _row(top: int, title: str, boxes: list[tuple[str, int]], colour: str) -> list[str]:
    parts, left = [_label(20, top + 31, title, colour, bold=True), _label(160, top + 31, "latent")], 206
    for place, (text, width) in enumerate(boxes):
        middle = place == 1
        parts += [
            _arrow(left, top + 26, left + 28),
            f'<rect x="{left + 30}" y="{top}" width="{width}" height="52" rx="6" fill="{colour if middle else _PALE}"/>',
            _label(left + 30 + width // 2, top + 31, text, "#ffffff" if middle else _TEXT, centred=True),
        ]
        left += 30 + width
    return [*parts, _arrow(left, top + 26, left + 28)]


def _run(top: int) -> list[str]:
    curve = load_curve(CURVE)
    sigmas = curve.sigmas_for(STEPS)
    plan = plan_budget(curve, sigmas, nfe=STEPS // 2, influence=euler_influence(sigmas))
    parts = [_label(20, top + 30, "a run", bold=True)]
    for step, reused in enumerate(plan.reused):
        shape = f'height="{16 if reused else 44}" y="{top + (28 if reused else 0)}"'
        parts.append(f'<rect x="{160 + 23 * step}" width="18" {shape} rx="3" fill="{_REUSED if reused else _COMPUTED}"/>')
    text = f"{STEPS} steps: {plan.nfe} computed, {STEPS - plan.nfe} skipped (plan by the published curve of Wan2.1 T2V 14B)"
    return [*parts, _label(160, top + 72, text, _LINE)]


def _label(x: int, y: int, text: str, colour: str = _TEXT, *, centred: bool = False, bold: bool = False) -> str:
    style = ' text-anchor="middle"' * centred + ' font-weight="bold"' * bold
    return f'<text x="{x}" y="{y}" fill="{colour}"{style}>{text}</text>'


def _arrow(start: int, y: int, end: int) -> str:
    return f'<path d="M {start + 4} {y} H {end - 2} m -6 -5 l 6 5 l -6 5" fill="none" stroke="{_LINE}" stroke-width="2"/>'


if __name__ == "__main__":
    FILE.write_text(drawing(), encoding="utf-8")
