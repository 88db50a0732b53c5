"""What processes do in the tests of docs/parallel.md."""

from __future__ import annotations

import io
import os
import re
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any
from unittest.mock import patch
from zlib import crc32

import torch
from diffusers import FluxPipeline

import magcache.diffusers as mc

from ..pipelines import PIPES
from ..tiny_parts import noise

DOCS = Path(__file__).parents[3] / "docs"


def block(place: int, folder: str, pace: Sequence[float] = (0, 0)) -> tuple[list[str], str]:
    """A block of docs/parallel.md. Returns the prompts that this process was given, and what it prints. `pace`: seconds a prompt takes."""
    rank = int(os.environ["RANK"])
    os.environ["MAGCACHE_CURVES"] = f"{folder}/curves{rank}"
    os.chdir(folder)
    prompts: list[str] = []

    def told(prompt: str) -> None:
        prompts.append(prompt)
        time.sleep(pace[rank])

    said = io.StringIO()
    text = (DOCS / "parallel.md").read_text(encoding="utf-8")
    source = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)[place]
    pipe = _prompted(told)
    with patch.object(FluxPipeline, "from_pretrained", lambda *_, **__: pipe), redirect_stdout(said):
        exec(compile(source, "parallel.md", "exec"), {"__name__": "__main__"})  # noqa: S102 - our own document
    return prompts, said.getvalue()


def restarted(place: int, folder: str) -> list[str]:
    """A block that runs anew after a picture was lost, as if torchrun had started the processes again. Returns the prompts of that run."""
    block(place, folder)
    if os.environ["RANK"] == "0":  # The other process waits for this one before it counts.
        Path("0001.png").unlink()
    os.environ["TORCHELASTIC_RESTART_COUNT"] = "1"
    return block(place, folder)[0]


def alone(folder: str, prompts: Sequence[str]) -> list[list[int]]:
    """The pictures of the page's first script, made by one process: their pixels."""
    pipe = _prompted(lambda _: None)
    mc.apply(pipe, 2.0, folder=folder)
    pictures = [pipe(prompt, generator=torch.Generator().manual_seed(seed)).images[0] for seed, prompt in enumerate(prompts)]
    return [list(picture.tobytes()) for picture in pictures]


def _prompted(told: Callable[[str], None]) -> Any:
    """A tiny pipeline that takes text and makes small pictures."""
    pipe: Any = PIPES["flux"].build()
    pipe.default_sample_size = 16

    def encode_prompt(prompt: str, **_: Any) -> tuple[torch.Tensor, ...]:
        told(prompt)
        seed = crc32(prompt.encode())
        return noise(1, 8, 32, seed=seed), noise(1, 32, seed=seed), torch.zeros(8, 3)

    pipe.encode_prompt = encode_prompt
    return pipe
