"""A small FramePack on disk as the real one is: with text encoders and tokenizers, whole or in the parts that are published."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLHunyuanVideo, HunyuanVideoFramepackPipeline, HunyuanVideoFramepackTransformer3DModel
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import CLIPTextConfig, CLIPTextModel, LlamaConfig, LlamaModel, PreTrainedTokenizerFast

from magcache.framepack.trial import trial_pipeline

_WORDS = ("<pad>", "<unk>", "a", "red", "fox", "snow")


def tokenizer() -> PreTrainedTokenizerFast:
    made = Tokenizer(models.WordLevel({word: number for number, word in enumerate(_WORDS)}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=made, pad_token="<pad>", unk_token="<unk>")


def whole_pipeline() -> HunyuanVideoFramepackPipeline:
    torch.manual_seed(0)
    trial = trial_pipeline()
    config = dict(trial.transformer.config) | {"text_embed_dim": 16, "pooled_projection_dim": 8, "num_layers": 1, "num_single_layers": 1}
    llama = LlamaConfig(
        vocab_size=8, hidden_size=16, intermediate_size=16, num_hidden_layers=3, num_attention_heads=2, max_position_embeddings=512
    )
    clip = CLIPTextConfig(vocab_size=8, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2, eos_token_id=0)
    vae = AutoencoderKLHunyuanVideo(
        latent_channels=4, down_block_types=("HunyuanVideoDownBlock3D",) * 4, up_block_types=("HunyuanVideoUpBlock3D",) * 4,
        block_out_channels=(4,) * 4, layers_per_block=1, norm_num_groups=2, mid_block_add_attention=False,
    )  # fmt: skip
    return HunyuanVideoFramepackPipeline(
        transformer=HunyuanVideoFramepackTransformer3DModel.from_config(config), vae=vae, scheduler=trial.scheduler,
        text_encoder=LlamaModel(llama), tokenizer=tokenizer(), text_encoder_2=CLIPTextModel(clip), tokenizer_2=tokenizer(),
        image_encoder=trial.image_encoder, feature_extractor=trial.feature_extractor,
    )  # fmt: skip


def save_whole(folder: Path) -> Path:
    whole_pipeline().save_pretrained(folder)
    return folder


def save_parts(folder: Path) -> dict[str, Path]:
    """`weights`, `base` and `vision`, as they lie in three repositories."""
    pipe = whole_pipeline()
    places = {name: folder / name for name in ("weights", "base", "vision")}
    pipe.transformer.save_pretrained(places["weights"])
    _rename_class(places["weights"] / "config.json")
    pipe.save_pretrained(places["base"])
    for name, part in (("feature_extractor", pipe.feature_extractor), ("image_encoder", pipe.image_encoder)):
        part.save_pretrained(places["vision"] / name)
    return places


def _rename_class(path: Path) -> None:
    """As in the published configurations, which are older than the class in diffusers."""
    config: dict[str, Any] = json.loads(path.read_text())
    path.write_text(json.dumps(config | {"_class_name": "HunyuanVideoTransformer3DModelPacked"}))
