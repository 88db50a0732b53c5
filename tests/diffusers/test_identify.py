"""Which curve `auto` picks, from the configurations of the published models and what their pipelines pass to them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import diffusers
import pytest
import torch

from magcache.curves.shipped import known_curves
from magcache.diffusers.families import FAMILIES
from magcache.runtime.family import Family, ModelFacts

from .zoo_videos import VIDEOS
from .zoo_videos_hunyuan import framepack

FULL, HIGH, LOW = (1.0, 0.9, 0.5, 0.0), (1.0, 0.95, 0.875), (0.87, 0.5, 0.0)
HD, SD, PORTRAIT = (21, 90, 160), (21, 60, 104), (21, 104, 60)


def family_of(name: str) -> Family:
    return next(family for family in FAMILIES if name in family.classes)


def identified(name: str, sizes: Mapping[str, Any], sigmas: tuple[float, ...] = FULL, **arguments: Any) -> str | None:
    """The curve of a model of the class `name` whose configuration has these `sizes`, the rest being the defaults."""
    if not hasattr(diffusers, name):
        pytest.skip(f"diffusers {diffusers.__version__} has no {name}")
    family, parameters = family_of(name), inspect.signature(getattr(diffusers, name).__init__).parameters
    assert set(sizes) <= set(parameters)
    config = {field: parameter.default for field, parameter in parameters.items() if parameter.default is not parameter.empty}
    given = [field for field, value in arguments.items() if value is not None]
    facts = ModelFacts(
        config={**config, **sizes}, sigmas=sigmas, latent=tuple(arguments["hidden_states"].shape),
        conditioning=frozenset([*given, *family.inputs(arguments)]),
    )  # fmt: skip
    return family.identify(facts)


def latent(channels: int, cells: tuple[int, ...] = SD) -> torch.Tensor:
    return torch.empty(1, channels, *cells, device="meta")


def flux(reference: bool = False, **more: Any) -> str | None:
    """Tokens of a picture of 1024 × 1024, and those of another one behind them."""
    row, column = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    own = torch.stack([torch.zeros_like(row), row, column], dim=-1).flatten(0, 1).float()
    ids = torch.cat([own, own + torch.tensor([1.0, 0, 0])]) if reference else own
    sizes = {"num_layers": 19, "num_single_layers": 38, "num_attention_heads": 24, "in_channels": 64, "guidance_embeds": True, **more}
    tokens = torch.empty(1, len(ids), 64, device="meta")
    return identified("FluxTransformer2DModel", sizes, hidden_states=tokens, img_ids=ids, txt_ids=torch.zeros(512, 3))


def chroma() -> str | None:
    sizes = {"num_layers": 19, "num_single_layers": 38, "num_attention_heads": 24, "in_channels": 64}
    return identified("ChromaTransformer2DModel", sizes, hidden_states=torch.empty(1, 4096, 64, device="meta"))


def qwen_image(pictures: int = 1, blocks: int = 60) -> str | None:
    """Tokens of a picture, and those of others behind them."""
    shapes, tokens = [[(1, 64, 64)] * pictures], torch.empty(1, 4096 * pictures, 64, device="meta")
    sizes = {"num_layers": blocks, "num_attention_heads": 24, "in_channels": 64, "out_channels": 16}
    return identified("QwenImageTransformer2DModel", sizes, hidden_states=tokens, img_shapes=shapes)


WAN_1_3B = {"num_attention_heads": 12, "num_layers": 30, "ffn_dim": 8960}
WAN_5B = {"num_attention_heads": 24, "num_layers": 30, "ffn_dim": 14336, "in_channels": 48, "out_channels": 48}
WAN_14B = {"num_attention_heads": 40, "num_layers": 40, "ffn_dim": 13824}
CLIP = {"image_dim": 1280, "added_kv_proj_dim": 5120}


def wan(
    sizes: Mapping[str, Any], cells: tuple[int, ...] = SD, sigmas: tuple[float, ...] = FULL, name: str = "Wan", **more: Any
) -> str | None:
    return identified(f"{name}Transformer3DModel", sizes, sigmas, hidden_states=latent(sizes.get("in_channels", 16), cells), **more)


def i2v(cells: tuple[int, ...], **more: Any) -> str | None:
    """Wan 2.1, which gets the first frame as further channels and through CLIP."""
    return wan({**WAN_14B, **CLIP, "in_channels": 36, **more}, cells, encoder_hidden_states_image=torch.empty(1, 257, 1280, device="meta"))


def ti2v(given: bool, **more: Any) -> str | None:
    """Wan 2.2 5B: each token has a time step of its own, in text to video the same."""
    frames = torch.full((1, 31, 220), 999.0)
    frames[:, 0] *= not given
    return wan({**WAN_5B, **more}, (31, 22, 40), timestep=frames.flatten(1))


def vace(sizes: Mapping[str, Any], every: int) -> str | None:
    layers = list(range(0, sizes["num_layers"], every))
    return wan({**sizes, "vace_layers": layers, "vace_in_channels": 96}, name="WanVACE")


def hunyuan(cells: tuple[int, ...] = (33, 90, 160), name: str = "HunyuanVideo", **more: Any) -> str | None:
    return identified(f"{name}Transformer3DModel", more, hidden_states=latent(16, cells))


def framepacked(history_first: bool, **more: Any) -> str | None:
    sizes = {"has_image_proj": True, "image_proj_dim": 1152, "has_clean_x_embedder": True, **more}
    return identified("HunyuanVideoFramepackTransformer3DModel", sizes, **framepack(0, history_first))


PUBLISHED: Mapping[str, Callable[[], str | None]] = {
    "chroma": chroma,
    "flux": flux,
    "flux_kontext": partial(flux, reference=True),
    "framepack": partial(framepacked, False),
    "framepack_f1": partial(framepacked, True),
    "hunyuan_video": hunyuan,
    "hunyuan_video_544p": partial(hunyuan, (33, 68, 120)),
    "hunyuan_video1.5": partial(hunyuan, (31, 45, 80), "HunyuanVideo15"),
    "qwen_image": qwen_image,
    "qwen_image_edit": partial(qwen_image, 2),
    "wan2.1_t2v_1.3B": partial(wan, WAN_1_3B),
    "wan2.1_t2v_14B": partial(wan, WAN_14B, HD),
    "wan2.1_i2v_480p_14B": partial(i2v, SD),
    "wan2.1_i2v_720p_14B": partial(i2v, HD),
    "wan2.1_vace_1.3B": partial(vace, WAN_1_3B, 2),
    "wan2.1_vace_14B": partial(vace, WAN_14B, 5),
    "wan2.2_t2v_14B": partial(wan, WAN_14B, HD, HIGH, transformer_2=True),
    "wan2.2_i2v_14B": partial(wan, {**WAN_14B, "in_channels": 36}, HD, HIGH),
    "wan2.2_ti2v_5B": partial(ti2v, given=False),
    "wan2.2_ti2v_5B_i2v": partial(ti2v, given=True),
}
NOT_IN_DIFFUSERS = {"omnigen2_t2i", "omnigen2_edit"}


def test_every_shipped_curve_is_picked_by_auto_or_of_a_model_that_diffusers_lacks():
    assert set(PUBLISHED) | NOT_IN_DIFFUSERS == set(known_curves())


@pytest.mark.parametrize("name", PUBLISHED)
def test_auto_recognises_a_published_model(name: str):
    assert PUBLISHED[name]() == name


@pytest.mark.parametrize(
    ("expected", "of"),
    [
        ("wan2.1_i2v_480p_14B", partial(i2v, PORTRAIT)),
        ("wan2.1_i2v_720p_14B", partial(i2v, HD, pos_embed_seq_len=514)),
        ("wan2.2_t2v_14B", partial(wan, WAN_14B, HD, LOW, transformer_2=True)),
        ("wan2.1_t2v_14B", partial(wan, WAN_14B, HD, LOW)),  # Video to video begins late too.
        ("wan2.2_i2v_14B", partial(wan, {**WAN_14B, "in_channels": 36}, SD, LOW)),
        ("wan2.1_t2v_1.3B", partial(wan, WAN_1_3B, SD, LOW)),
        ("hunyuan_video", partial(hunyuan, in_channels=33, image_condition_type="latent_concat")),
        ("qwen_image_edit", partial(qwen_image, 3)),
    ],
)
def test_auto_sees_portraits_both_experts_and_other_inputs(expected: str, of: Callable[[], str | None]):
    assert of() == expected


@pytest.mark.parametrize(
    "of",
    [
        partial(flux, guidance_embeds=False),
        partial(flux, num_layers=8),
        partial(qwen_image, blocks=20),
        partial(wan, {**WAN_14B, "num_layers": 32}),
        partial(wan, {**WAN_1_3B, "in_channels": 36}),
        partial(ti2v, given=False, in_channels=96),
        partial(wan, WAN_14B, name="SkyReelsV2"),
        partial(wan, {**WAN_14B, **CLIP, "in_channels": 36}, name="ChronoEdit"),
        partial(wan, {**WAN_14B, **CLIP, "in_channels": 36}, name="WanAnimate"),
        partial(vace, {**WAN_14B, "num_layers": 32}, 5),
        partial(hunyuan, num_single_layers=20),
        partial(hunyuan, name="HunyuanVideo15", num_layers=20),
        partial(framepacked, True, num_layers=10),
    ],
)
def test_auto_does_not_take_a_model_for_a_published_one(of: Callable[[], str | None]):
    assert of() is None


@pytest.mark.parametrize(
    ("case", "filling", "reading"),
    [
        ("anyflow_far", {"kv_cache_flag": {"is_cache_step": True}}, {"kv_cache_flag": None}),
        ("wan_animate2", {"kv_cache_mode": "extract"}, {"kv_cache_mode": "cached"}),
        ("sana_wm_refiner", {"kv_cache": object(), "kv_cache_mode": "inject"}, {"kv_cache": None, "kv_cache_mode": None}),
    ],
)
def test_a_forward_that_fills_a_memory_is_left_alone(case: str, filling: dict[str, Any], reading: dict[str, Any]):
    arguments = VIDEOS[case].arguments()
    family = family_of(type(VIDEOS[case].model).__name__)
    assert family.refuses({**arguments, **filling})
    assert not family.refuses({**arguments, **reading}) and not family.refuses(arguments)
