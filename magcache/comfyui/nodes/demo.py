"""The demo's tiny model in ComfyUI: its checkpoint, and two nodes in place of a text encoder and a VAE."""

from __future__ import annotations

from pathlib import Path

import folder_paths
import numpy as np
import torch
from comfy.latent_formats import Flux
from comfy_api.latest import io

from ...demo import world

_CHECKPOINTS = Path(world.__file__).parent / "checkpoints"


def register_checkpoints() -> None:
    """Let Load Diffusion Model list the demo's model, after the user's own."""
    folder_paths.add_model_folder_path("diffusion_models", str(_CHECKPOINTS))


class MagCacheDemoText(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MagCacheDemoText",
            display_name="MagCache Demo Text",
            category="MagCache/demo",
            description="Encodes a prompt for the demo's tiny model, such as 'a fox on mint'.",
            inputs=[
                io.String.Input(
                    "text", multiline=True, tooltip="A subject and a ground, such as 'a panda on rose'. Empty for the negative prompt."
                )
            ],
            outputs=[io.Conditioning.Output(display_name="conditioning", tooltip="The encoded prompt, for a sampler.")],
        )

    @classmethod
    def execute(cls, text) -> io.NodeOutput:
        tokens, pooled = world.encode(text)
        return io.NodeOutput([[torch.from_numpy(tokens)[None], {"pooled_output": torch.from_numpy(pooled)[None]}]])


class MagCacheDemoDecode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MagCacheDemoDecode",
            display_name="MagCache Demo Decode",
            category="MagCache/demo",
            description="Turns the latents of the demo's tiny model into pictures, without a VAE.",
            inputs=[io.Latent.Input("samples", tooltip="Latents of the demo's tiny model.")],
            outputs=[io.Image.Output(display_name="image", tooltip="One picture for each latent.")],
        )

    @classmethod
    def execute(cls, samples) -> io.NodeOutput:
        latents = Flux().process_in(samples["samples"].float().cpu()).numpy()
        pictures = np.clip((world.to_pictures(latents) + 1) / 2, 0, 1)
        return io.NodeOutput(torch.from_numpy(np.ascontiguousarray(pictures.transpose(0, 2, 3, 1), dtype=np.float32)))


DEMO_NODES: list[type[io.ComfyNode]] = [MagCacheDemoText, MagCacheDemoDecode]
