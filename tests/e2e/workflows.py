"""Small workflows of the bundled model, as a server runs them and as files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from magcache.demo.run import demo_workflow
from magcache.server.workflow import Workflow

PUBLISHED: dict[str, Any] = {"model_type": "flux", "magcache_thresh": 0.24, "retention_ratio": 0.1, "magcache_K": 5}
"""The inputs of the published MagCache node, set as recommended for Flux."""


def small(steps: int = 10, pictures: int = 1) -> Workflow:
    """Pictures of 64 × 64, a quarter of the size the model was trained for, to be quick."""
    workflow = demo_workflow("a fox on mint", 5, steps)
    workflow["latent"]["inputs"].update(width=128, height=128, batch_size=pictures)
    return workflow


def guided(steps: int = 10) -> Workflow:
    """A workflow with a guider, a scheduler and noise as nodes of their own."""
    workflow = small(steps)
    del workflow["sampler"]
    return workflow | {
        "guider": node("CFGGuider", model=["shift", 0], positive=["positive", 0], negative=["negative", 0], cfg=2.5),
        "sigmas": node("BasicScheduler", model=["shift", 0], scheduler="simple", steps=steps, denoise=1.0),
        "noise": node("RandomNoise", noise_seed=5),
        "euler": node("KSamplerSelect", sampler_name="euler"),
        "sampler": node(
            "SamplerCustomAdvanced",
            noise=["noise", 0], guider=["guider", 0], sampler=["euler", 0], sigmas=["sigmas", 0], latent_image=["latent", 0],
        ),
    }  # fmt: skip


def video(steps: int = 10) -> Workflow:
    """A workflow that saves its pictures as one mp4 file."""
    workflow = small(steps, pictures=3)
    return workflow | {
        "video": node("CreateVideo", images=["decode", 0], fps=8.0),
        "save": node("SaveVideo", video=["video", 0], filename_prefix="magcache", format="mp4", codec="h264"),
    }


def written(path: Path, workflow: Workflow) -> Path:
    """Write a workflow to a file; returns its path."""
    path.write_text(json.dumps(workflow))
    return path


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs}
