"""Flux weights under diffusers' names and under the original names."""

from __future__ import annotations

import pytest
import torch
from diffusers import FluxTransformer2DModel

from benchmarks.small.convert import Weights, flux_to_diffusers, flux_to_original

HIDDEN, MLP = 32, 128


@pytest.fixture(scope="module")
def weights() -> Weights:
    torch.manual_seed(0)
    model = FluxTransformer2DModel(
        in_channels=16,
        num_layers=2,
        num_single_layers=3,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=24,
        pooled_projection_dim=12,
        guidance_embeds=False,
        axes_dims_rope=(4, 6, 6),
    )
    return {name: torch.randn_like(tensor) for name, tensor in model.state_dict().items()}


def test_there_and_back(weights: Weights):
    back = flux_to_diffusers(flux_to_original(weights))
    assert set(back) == set(weights)
    for name, tensor in weights.items():
        assert torch.equal(back[name], tensor), name


def test_original_names_and_shapes(weights: Weights):
    original = flux_to_original(weights)
    shapes = {name: tuple(tensor.shape) for name, tensor in original.items()}
    assert shapes["img_in.weight"] == (HIDDEN, 16)
    assert shapes["txt_in.weight"] == (HIDDEN, 24)
    assert shapes["vector_in.in_layer.weight"] == (HIDDEN, 12)
    assert shapes["time_in.in_layer.weight"] == (HIDDEN, 256)
    assert shapes["final_layer.linear.weight"] == (16, HIDDEN)
    assert shapes["final_layer.adaLN_modulation.1.weight"] == (2 * HIDDEN, HIDDEN)
    for block in range(2):
        for side in ("img", "txt"):
            name = f"double_blocks.{block}.{side}"
            assert shapes[f"{name}_attn.qkv.weight"] == (3 * HIDDEN, HIDDEN)
            assert shapes[f"{name}_attn.norm.query_norm.scale"] == (16,)
            assert shapes[f"{name}_mod.lin.weight"] == (6 * HIDDEN, HIDDEN)
            assert shapes[f"{name}_mlp.0.weight"] == (MLP, HIDDEN)
    for block in range(3):
        assert shapes[f"single_blocks.{block}.linear1.weight"] == (3 * HIDDEN + MLP, HIDDEN)
        assert shapes[f"single_blocks.{block}.linear2.weight"] == (HIDDEN, HIDDEN + MLP)
    assert not any(name.startswith(("double_blocks.2", "single_blocks.3")) for name in shapes)
    assert sum(tensor.numel() for tensor in original.values()) == sum(tensor.numel() for tensor in weights.values())


def test_joined_and_swapped_weights(weights: Weights):
    original = flux_to_original(weights)
    queries, keys, values = original["double_blocks.1.img_attn.qkv.weight"].chunk(3)
    for name, part in (("to_q", queries), ("to_k", keys), ("to_v", values)):
        assert torch.equal(part, weights[f"transformer_blocks.1.attn.{name}.weight"])
    shift, scale = original["final_layer.adaLN_modulation.1.bias"].chunk(2)
    assert torch.equal(torch.cat([scale, shift]), weights["norm_out.linear.bias"])


def test_converted_weights_are_their_own(weights: Weights):
    """Tensors that share memory cannot be saved as safetensors."""
    for converted in (flux_to_original(weights), flux_to_diffusers(flux_to_original(weights))):
        places = [tensor.untyped_storage().data_ptr() for tensor in converted.values()]
        assert len(set(places)) == len(places)
