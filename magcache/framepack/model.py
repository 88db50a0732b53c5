"""A FramePack pipeline that is ready to run, and what the page has to know about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .settings import FPS, Settings


@dataclass(frozen=True, slots=True)
class Model:
    """A loaded pipeline of diffusers."""

    title: str
    pipe: Any
    """A `HunyuanVideoFramepackPipeline`."""
    device: str
    """What it runs on, such as `cuda`."""
    text: Callable[[Settings], dict[str, Any]]
    """The arguments of a call that say what should be seen."""
    forward: bool = False
    """Whether sections are made from the beginning on, as F1 does (`vanilla`); FramePack makes the end first."""
    trial: bool = False
    """Whether its weights are random."""
    window: int = 9
    """Latent frames of a section."""
    folder: str | None = None
    """Where its calibrations are kept; None for MagCache's own place."""

    @property
    def sampling_type(self) -> str:
        return "vanilla" if self.forward else "inverted_anti_drifting"

    @property
    def section_frames(self) -> int:
        """Frames that each section adds."""
        return self.window * self.pipe.vae_scale_factor_temporal

    def sections(self, seconds: float) -> int:
        """The number of whole sections that comes closest to the length."""
        return max(1, round(seconds * FPS / self.section_frames))

    def frames(self, seconds: float) -> int:
        """Frames of the video: those of the sections, and the first picture."""
        return self.sections(seconds) * self.section_frames + 1

    def frames_to_ask_for(self, seconds: float) -> int:
        """The pipeline's `num_frames` for that number of sections; it counts on some overlap between them."""
        return self.sections(seconds) * (self.section_frames - self.pipe.vae_scale_factor_temporal + 1)


def prompts(settings: Settings) -> dict[str, Any]:
    """What text encoders are given."""
    negative = {"negative_prompt": settings.negative_prompt} if settings.true_cfg_scale > 1 else {}
    return {"prompt": settings.prompt, **negative}
