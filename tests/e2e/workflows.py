"""Small workflows of the bundled model, and files of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from magcache.demo.run import demo_workflow
from magcache.server.workflow import Workflow


def small(steps: int = 10, pictures: int = 1) -> Workflow:
    """A quarter of the size the model was trained for: quick, if not pretty."""
    workflow = demo_workflow("a red star on sand", 5, steps)
    workflow["latent"]["inputs"].update(width=128, height=128, batch_size=pictures)
    return workflow


def guided(steps: int = 10) -> Workflow:
    """With a guider, a scheduler and noise as nodes of their own."""
    workflow = small()
    del workflow["sampler"]
    return workflow | {
        "guider": _node("CFGGuider", model=["shift", 0], positive=["positive", 0], negative=["negative", 0], cfg=2.5),
        "sigmas": _node("BasicScheduler", model=["shift", 0], scheduler="simple", steps=steps, denoise=1.0),
        "noise": _node("RandomNoise", noise_seed=5),
        "euler": _node("KSamplerSelect", sampler_name="euler"),
        "sampler": _node(
            "SamplerCustomAdvanced",
            noise=["noise", 0], guider=["guider", 0], sampler=["euler", 0], sigmas=["sigmas", 0], latent_image=["latent", 0],
        ),
    }  # fmt: skip


def video(steps: int = 10) -> Workflow:
    """Its pictures are saved as one mp4 file."""
    workflow = small(steps, pictures=3)
    return workflow | {
        "video": _node("CreateVideo", images=["decode", 0], fps=8.0),
        "save": _node("SaveVideo", video=["video", 0], filename_prefix="magcache", format="mp4", codec="h264"),
    }


def written(path: Path, workflow: Workflow) -> Path:
    path.write_text(json.dumps(workflow))
    return path


def _node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs}
