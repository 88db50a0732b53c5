"""The pictures that the emoji model learns: Noto Emoji (Apache-2.0), fetched and rasterised, painted on grounds by torch.

    python -m benchmarks.small.emoji_art

measures the code of the cells on painted pictures and writes `magcache/demo/cells.json`. Needs npm and the package resvg-py once;
the rasterised art is then kept in a cache folder.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import subprocess
import tarfile
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from PIL import Image
from rich.console import Console
from torch.nn import functional

from magcache.demo import world

PACKAGE, VERSION = "@iconify-json/noto", "1.2.9"
INTEGRITY = "DQiuXENbun41ch+XPSV55H9FaWKpHTyz46YIKtSaKYD4fIDDzL1tR6H4np/T38jfrTAeI3rcKF0mqHYeZVAuaw=="
"""SHA-512 of the package's file, in base64, as the registry states it."""
CACHE = Path.home() / ".cache" / "magcache" / "noto"
ART_SIDE = 128
SVG = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 128 128">{}</svg>'

console = Console()


def load_art(folder: Path = CACHE) -> torch.Tensor:
    """The subjects' pictures (subjects, 4, ART_SIDE, ART_SIDE), uint8, not premultiplied; made in `folder` where missing."""
    names = hashlib.sha256(" ".join(world.SUBJECTS.values()).encode()).hexdigest()[:8]
    kept = folder / f"noto-{VERSION}-{ART_SIDE}-{names}.npy"
    if not kept.exists():
        folder.mkdir(parents=True, exist_ok=True)
        icons = _fetch_icons(folder)
        np.save(kept, np.stack([_rasterise(icons[name]["body"]) for name in world.SUBJECTS.values()]))
    return torch.from_numpy(np.load(kept))


def _fetch_icons(folder: Path) -> dict[str, dict[str, str]]:
    """The icons of the pinned package, by name; `body` is the inside of an SVG of 128 × 128."""
    packed = folder / f"iconify-json-noto-{VERSION}.tgz"
    if not packed.exists():
        subprocess.run(["npm", "pack", f"{PACKAGE}@{VERSION}", "--silent"], cwd=folder, check=True)
    content = packed.read_bytes()
    if base64.b64encode(hashlib.sha512(content).digest()).decode() != INTEGRITY:
        raise ValueError(f"{packed} is not {PACKAGE} {VERSION} as pinned: its SHA-512 differs. Delete it and try again.")
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        icons = archive.extractfile("package/icons.json")
        assert icons is not None
        return json.load(icons)["icons"]


def _rasterise(body: str) -> np.ndarray:
    """(4, ART_SIDE, ART_SIDE), uint8."""
    import resvg_py  # Only where art is made anew.

    png = resvg_py.svg_to_bytes(svg_string=SVG.format(body), width=ART_SIDE, height=ART_SIDE, skip_system_fonts=True)
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGBA")).transpose(2, 0, 1)


class Painter:
    """Paints subjects on grounds with a soft shadow, at a random place, size and turn, mirrored or not."""

    def __init__(self, art: torch.Tensor, device: torch.device) -> None:
        art = art.to(device, torch.float32) / 255
        self._art = torch.cat([art[:, :3] * art[:, 3:], art[:, 3:]], dim=1)
        self._grounds = torch.tensor(list(world.GROUNDS.values()), device=device)
        self._light = torch.linspace(1.06, 0.86, world.SIDE, device=device).view(1, 1, -1, 1)

    def paint(self, subjects: torch.Tensor, grounds: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
        """Pictures (n, 3, SIDE, SIDE) in [-1, 1] of the subjects and grounds with these numbers, (n,) each."""
        count = len(subjects)
        grid = functional.affine_grid(self._placements(count, rng), [count, 4, world.SIDE, world.SIDE], align_corners=False)
        drawn = functional.grid_sample(self._art[subjects], grid, mode="bicubic", align_corners=False).clamp(0, 1)
        colour, cover = drawn[:, :3], drawn[:, 3:]
        ground = (self._grounds[grounds].view(-1, 3, 1, 1) * self._light).clamp(0, 1)
        shadow = functional.avg_pool2d(functional.pad(cover, (8, 8, 14, 2)), 17, stride=1)
        return (colour + ground * (1 - 0.25 * shadow) * (1 - cover)).clamp(0, 1) * 2 - 1

    def _placements(self, count: int, rng: torch.Generator) -> torch.Tensor:
        """Affine maps (n, 2, 3) from places in the picture to places in the art."""
        uniform = torch.rand(5, count, generator=rng, device=rng.device)
        size, turn = 0.68 + 0.20 * uniform[0], 0.5 * uniform[1] - 0.25
        x, y = 0.24 * uniform[2] - 0.12, 0.24 * uniform[3] - 0.12
        mirror = torch.where(uniform[4] < 0.5, -1.0, 1.0)
        cosine, sine = torch.cos(turn) / size, torch.sin(turn) / size
        across = torch.stack([cosine, -sine, sine * y - cosine * x], 1) * mirror[:, None]
        down = torch.stack([sine, cosine, -sine * x - cosine * y], 1)
        return torch.stack([across, down], 1)


class Encoder:
    """`magcache.demo.world.to_latent` in torch, on the device where pictures are painted."""

    def __init__(self, code: world.Cells, device: torch.device) -> None:
        self._mean = torch.from_numpy(code.mean).to(device)
        self._project = torch.from_numpy(code.basis.T / code.scale).to(device)

    def __call__(self, pictures: torch.Tensor) -> torch.Tensor:
        split = functional.pixel_unshuffle(pictures, world.CELL).movedim(1, -1)
        return ((split - self._mean) @ self._project).movedim(-1, 1).contiguous()


def paint_any(painter: Painter, count: int, rng: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures of `count` random prompts, and the prompts' numbers in `magcache.demo.world.prompts()`."""
    which = torch.randint(len(world.SUBJECTS) * len(world.GROUNDS), (count,), generator=rng, device=rng.device)
    return painter.paint(which // len(world.GROUNDS), which % len(world.GROUNDS), rng), which


def measure_cells(painter: Painter, pictures: int = 2000) -> tuple[world.Cells, float]:
    """The principal components of painted cells, and the part of the variance that they hold."""
    painted, _ = paint_any(painter, pictures, torch.Generator().manual_seed(1))
    split = functional.pixel_unshuffle(painted, world.CELL).movedim(1, -1).reshape(-1, 3 * world.CELL**2).double()
    values, vectors = torch.linalg.eigh(torch.cov(split.T))
    values, basis = values.flip(0), vectors.T.flip(0)[: world.LATENT_CHANNELS]
    largest = basis.gather(1, basis.abs().argmax(1, keepdim=True))
    deviations = values[: world.LATENT_CHANNELS].sqrt()
    code = (split.mean(0), basis * largest.sign(), deviations.clamp(min=deviations[3].item()))
    mean, basis, scale = (part.round(decimals=6).float().numpy() for part in code)
    return world.Cells(mean, basis, scale), (values[: world.LATENT_CHANNELS].sum() / values.sum()).item()


def main(art: Annotated[Path, typer.Option(help="Where fetched art is kept.")] = CACHE) -> None:
    painter = Painter(load_art(art), torch.device("cpu"))
    code, held = measure_cells(painter)
    numbers = {name: np.round(getattr(code, name).astype(float), 6).tolist() for name in ("mean", "basis", "scale")}
    world.CELLS_FILE.write_text(json.dumps(numbers), "utf-8")
    pictures = paint_any(painter, 64, torch.Generator().manual_seed(2))[0].numpy()
    error = np.square(world.to_pictures(world.to_latent(pictures)) - pictures).mean()
    console.print(f"{world.CELLS_FILE.name}: {held:.2%} of the variance, {10 * np.log10(4 / error):.1f} dB")


if __name__ == "__main__":
    typer.run(main)
