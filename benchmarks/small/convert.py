"""Convert Flux and Wan weights between diffusers' names (used by training and peers) and the original names (read by ComfyUI's loader)."""

from __future__ import annotations

from collections.abc import Iterator

import torch

Weights = dict[str, torch.Tensor]
Row = tuple[str, tuple[str, ...]]
"""An original name, and the names in diffusers whose tensors it holds, joined along the first axis."""

_FLUX_EMBEDDERS = {
    "img_in": "x_embedder",
    "txt_in": "context_embedder",
    "time_in.in_layer": "time_text_embed.timestep_embedder.linear_1",
    "time_in.out_layer": "time_text_embed.timestep_embedder.linear_2",
    "vector_in.in_layer": "time_text_embed.text_embedder.linear_1",
    "vector_in.out_layer": "time_text_embed.text_embedder.linear_2",
    "final_layer.linear": "proj_out",
}


def _linear(original: str, *diffusers: str) -> Iterator[Row]:
    for part in ("weight", "bias"):
        yield f"{original}.{part}", tuple(f"{name}.{part}" for name in diffusers)


def _stream(
    block: str, side: str, attention: str, queries: tuple[str, str, str], out: str, norms: str, mlp: str, mod: str
) -> Iterator[Row]:
    yield from _linear(f"{block}.{side}_mod.lin", mod)
    yield from _linear(f"{block}.{side}_attn.qkv", *(f"{attention}.{name}" for name in queries))
    yield from _linear(f"{block}.{side}_attn.proj", f"{attention}.{out}")
    yield f"{block}.{side}_attn.norm.query_norm.scale", (f"{attention}.{norms}q.weight",)
    yield f"{block}.{side}_attn.norm.key_norm.scale", (f"{attention}.{norms}k.weight",)
    yield from _linear(f"{block}.{side}_mlp.0", f"{mlp}.net.0.proj")
    yield from _linear(f"{block}.{side}_mlp.2", f"{mlp}.net.2")


def _flux_rows(double: int, single: int) -> Iterator[Row]:
    for original, diffusers in _FLUX_EMBEDDERS.items():
        yield from _linear(original, diffusers)
    for index in range(double):
        ours, theirs = f"double_blocks.{index}", f"transformer_blocks.{index}"
        attention = f"{theirs}.attn"
        yield from _stream(ours, "img", attention, ("to_q", "to_k", "to_v"), "to_out.0", "norm_", f"{theirs}.ff", f"{theirs}.norm1.linear")
        yield from _stream(
            ours, "txt", attention, ("add_q_proj", "add_k_proj", "add_v_proj"), "to_add_out", "norm_added_",
            f"{theirs}.ff_context", f"{theirs}.norm1_context.linear",
        )  # fmt: skip
    for index in range(single):
        ours, theirs = f"single_blocks.{index}", f"single_transformer_blocks.{index}"
        yield from _linear(f"{ours}.modulation.lin", f"{theirs}.norm.linear")
        yield from _linear(f"{ours}.linear1", *(f"{theirs}.attn.{name}" for name in ("to_q", "to_k", "to_v")), f"{theirs}.proj_mlp")
        yield from _linear(f"{ours}.linear2", f"{theirs}.proj_out")
        yield f"{ours}.norm.query_norm.scale", (f"{theirs}.attn.norm_q.weight",)
        yield f"{ours}.norm.key_norm.scale", (f"{theirs}.attn.norm_k.weight",)


def _swap_halves(tensor: torch.Tensor) -> torch.Tensor:
    """Exchange the halves along the first axis: the last modulation is (shift, scale) in the original and (scale, shift) in diffusers."""
    first, second = tensor.chunk(2)
    return torch.cat([second, first])


def _depths(weights: Weights, double: str, single: str) -> tuple[int, int]:
    count = lambda prefix: len({name.split(".")[1] for name in weights if name.startswith(prefix + ".")})  # noqa: E731
    return count(double), count(single)


def flux_to_original(weights: Weights) -> Weights:
    """Weights of diffusers' FluxTransformer2DModel under the names of the original Flux."""
    double, single = _depths(weights, "transformer_blocks", "single_transformer_blocks")
    converted = {ours: torch.cat([weights[name] for name in theirs]) for ours, theirs in _flux_rows(double, single)}
    for part in ("weight", "bias"):
        converted[f"final_layer.adaLN_modulation.1.{part}"] = _swap_halves(weights[f"norm_out.linear.{part}"])
    return converted


def flux_to_diffusers(weights: Weights) -> Weights:
    """The inverse of `flux_to_original`."""
    double, single = _depths(weights, "double_blocks", "single_blocks")
    hidden = weights["img_in.weight"].shape[0]
    converted: Weights = {}
    for ours, theirs in _flux_rows(double, single):
        tensor = weights[ours]
        sizes = [tensor.shape[0]] if len(theirs) == 1 else [hidden] * 3 + [tensor.shape[0] - 3 * hidden] * (len(theirs) - 3)
        converted.update(zip(theirs, (piece.clone() for piece in tensor.split(sizes)), strict=True))
    for part in ("weight", "bias"):
        converted[f"norm_out.linear.{part}"] = _swap_halves(weights[f"final_layer.adaLN_modulation.1.{part}"])
    return converted


_WAN_EMBEDDERS = {
    "patch_embedding": "patch_embedding",
    "text_embedding.0": "condition_embedder.text_embedder.linear_1",
    "text_embedding.2": "condition_embedder.text_embedder.linear_2",
    "time_embedding.0": "condition_embedder.time_embedder.linear_1",
    "time_embedding.2": "condition_embedder.time_embedder.linear_2",
    "time_projection.1": "condition_embedder.time_proj",
    "head.head": "proj_out",
}
_WAN_ATTENTION = {"q": "to_q", "k": "to_k", "v": "to_v", "o": "to_out.0"}


def _wan_names(blocks: int) -> Iterator[tuple[str, str]]:
    """Pairs of an original name and the name in diffusers. No tensor is split or joined."""
    yield "head.modulation", "scale_shift_table"
    for original, diffusers in _WAN_EMBEDDERS.items():
        yield from ((ours, theirs[0]) for ours, theirs in _linear(original, diffusers))
    for block in range(blocks):
        prefix = f"blocks.{block}"
        yield f"{prefix}.modulation", f"{prefix}.scale_shift_table"
        layers = {"norm3": "norm2", "ffn.0": "ffn.net.0.proj", "ffn.2": "ffn.net.2"}
        for ours, theirs in (("self_attn", "attn1"), ("cross_attn", "attn2")):
            layers |= {f"{ours}.{name}": f"{theirs}.{other}" for name, other in _WAN_ATTENTION.items()}
            yield from ((f"{prefix}.{ours}.norm_{side}.weight", f"{prefix}.{theirs}.norm_{side}.weight") for side in "qk")
        for original, diffusers in layers.items():
            yield from ((ours, theirs[0]) for ours, theirs in _linear(f"{prefix}.{original}", f"{prefix}.{diffusers}"))


def _wan_depth(weights: Weights) -> int:
    return len({name.split(".")[1] for name in weights if name.startswith("blocks.")})


def wan_to_original(weights: Weights) -> Weights:
    """Weights of diffusers' WanTransformer3DModel (text to video) under the names of the original Wan."""
    return {ours: weights[theirs].clone() for ours, theirs in _wan_names(_wan_depth(weights))}


def wan_to_diffusers(weights: Weights) -> Weights:
    """The inverse of `wan_to_original`."""
    return {theirs: weights[ours].clone() for ours, theirs in _wan_names(_wan_depth(weights))}
