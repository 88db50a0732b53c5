"""The published files that the workflows load, at the addresses in ComfyUI's own templates."""

from tools.workflows.graph import ModelFile

_FLUX_TEXT = "https://huggingface.co/comfyanonymous/flux_text_encoders/resolve/main"
_WAN21 = "https://huggingface.co/Comfy-Org/Wan_2.1_ComfyUI_repackaged/resolve/main/split_files"
_WAN22 = "https://huggingface.co/Comfy-Org/Wan_2.2_ComfyUI_Repackaged/resolve/main/split_files"
_HUNYUAN = "https://huggingface.co/Comfy-Org/HunyuanVideo_repackaged/resolve/main/split_files"
_HUNYUAN15 = "https://huggingface.co/Comfy-Org/HunyuanVideo_1.5_repackaged/resolve/main/split_files"
_FLUX2 = "https://huggingface.co/Comfy-Org/flux2-dev/resolve/main/split_files"
_Z_IMAGE_TURBO = "https://huggingface.co/Comfy-Org/z_image_turbo/resolve/main/split_files"
_QWEN = "https://huggingface.co/Comfy-Org/Qwen-Image_ComfyUI/resolve/main/split_files"

FLUX_ALL_IN_ONE = ModelFile("checkpoints", "https://huggingface.co/Comfy-Org/flux1-dev/resolve/main/flux1-dev-fp8.safetensors")
FLUX = ModelFile("diffusion_models", "https://huggingface.co/Comfy-Org/flux1-dev/resolve/main/flux1-dev.safetensors")
FLUX_KONTEXT = ModelFile(
    "diffusion_models",
    "https://huggingface.co/Comfy-Org/flux1-kontext-dev_ComfyUI/resolve/main/split_files/diffusion_models/"
    "flux1-dev-kontext_fp8_scaled.safetensors",
)
CLIP_L = ModelFile("text_encoders", f"{_FLUX_TEXT}/clip_l.safetensors")
T5XXL = ModelFile("text_encoders", f"{_FLUX_TEXT}/t5xxl_fp8_e4m3fn_scaled.safetensors")
FLUX_VAE = ModelFile("vae", "https://huggingface.co/Comfy-Org/Lumina_Image_2.0_Repackaged/resolve/main/split_files/vae/ae.safetensors")

CHROMA = ModelFile(
    "diffusion_models",
    "https://huggingface.co/Comfy-Org/Chroma1-HD_repackaged/resolve/main/split_files/diffusion_models/Chroma1-HD-fp8mixed.safetensors",
)

HUNYUAN = ModelFile("diffusion_models", f"{_HUNYUAN}/diffusion_models/hunyuan_video_t2v_720p_bf16.safetensors")
HUNYUAN_TEXT = ModelFile("text_encoders", f"{_HUNYUAN}/text_encoders/llava_llama3_fp8_scaled.safetensors")
HUNYUAN_VAE = ModelFile("vae", f"{_HUNYUAN}/vae/hunyuan_video_vae_bf16.safetensors")

HUNYUAN15 = ModelFile("diffusion_models", f"{_HUNYUAN15}/diffusion_models/hunyuanvideo1.5_720p_t2v_fp16.safetensors")
HUNYUAN15_TEXT = ModelFile("text_encoders", f"{_HUNYUAN15}/text_encoders/qwen_2.5_vl_7b_fp8_scaled.safetensors")
HUNYUAN15_GLYPHS = ModelFile("text_encoders", f"{_HUNYUAN15}/text_encoders/byt5_small_glyphxl_fp16.safetensors")
HUNYUAN15_VAE = ModelFile("vae", f"{_HUNYUAN15}/vae/hunyuanvideo15_vae_fp16.safetensors")

WAN21_T2V = ModelFile("diffusion_models", f"{_WAN21}/diffusion_models/wan2.1_t2v_1.3B_fp16.safetensors")
WAN21_I2V = ModelFile("diffusion_models", f"{_WAN21}/diffusion_models/wan2.1_i2v_480p_14B_fp16.safetensors")
WAN21_VACE = ModelFile("diffusion_models", f"{_WAN21}/diffusion_models/wan2.1_vace_1.3B_fp16.safetensors")
WAN22_T2V_HIGH = ModelFile("diffusion_models", f"{_WAN22}/diffusion_models/wan2.2_t2v_high_noise_14B_fp8_scaled.safetensors")
WAN22_T2V_LOW = ModelFile("diffusion_models", f"{_WAN22}/diffusion_models/wan2.2_t2v_low_noise_14B_fp8_scaled.safetensors")
WAN22_I2V_HIGH = ModelFile("diffusion_models", f"{_WAN22}/diffusion_models/wan2.2_i2v_high_noise_14B_fp8_scaled.safetensors")
WAN22_I2V_LOW = ModelFile("diffusion_models", f"{_WAN22}/diffusion_models/wan2.2_i2v_low_noise_14B_fp8_scaled.safetensors")
WAN_TEXT = ModelFile("text_encoders", f"{_WAN21}/text_encoders/umt5_xxl_fp8_e4m3fn_scaled.safetensors")
WAN_VISION = ModelFile("clip_vision", f"{_WAN21}/clip_vision/clip_vision_h.safetensors")
WAN_VAE = ModelFile("vae", f"{_WAN21}/vae/wan_2.1_vae.safetensors")

QWEN = ModelFile("diffusion_models", f"{_QWEN}/diffusion_models/qwen_image_fp8_e4m3fn.safetensors")
QWEN_EDIT = ModelFile(
    "diffusion_models",
    "https://huggingface.co/Comfy-Org/Qwen-Image-Edit_ComfyUI/resolve/main/split_files/diffusion_models/"
    "qwen_image_edit_fp8_e4m3fn.safetensors",
)
QWEN_TEXT = ModelFile("text_encoders", f"{_QWEN}/text_encoders/qwen_2.5_vl_7b_fp8_scaled.safetensors")
QWEN_VAE = ModelFile("vae", f"{_QWEN}/vae/qwen_image_vae.safetensors")
QWEN_EDIT_2511 = ModelFile(
    "diffusion_models",
    "https://huggingface.co/Comfy-Org/Qwen-Image-Edit_ComfyUI/resolve/main/split_files/diffusion_models/"
    "qwen_image_edit_2511_bf16.safetensors",
)

FLUX2 = ModelFile("diffusion_models", f"{_FLUX2}/diffusion_models/flux2_dev_fp8mixed.safetensors")
FLUX2_TEXT = ModelFile("text_encoders", f"{_FLUX2}/text_encoders/mistral_3_small_flux2_bf16.safetensors")
FLUX2_VAE = ModelFile("vae", f"{_FLUX2}/vae/flux2-vae.safetensors")

Z_IMAGE = ModelFile(
    "diffusion_models", "https://huggingface.co/Comfy-Org/z_image/resolve/main/split_files/diffusion_models/z_image_bf16.safetensors"
)
Z_IMAGE_TEXT = ModelFile("text_encoders", f"{_Z_IMAGE_TURBO}/text_encoders/qwen_3_4b.safetensors")
Z_IMAGE_VAE = ModelFile("vae", f"{_Z_IMAGE_TURBO}/vae/ae.safetensors")

LTX2 = ModelFile("checkpoints", "https://huggingface.co/Lightricks/LTX-2/resolve/main/ltx-2-19b-dev-fp8.safetensors")
LTX2_TEXT = ModelFile(
    "text_encoders",
    "https://huggingface.co/Comfy-Org/ltx-2/resolve/main/split_files/text_encoders/gemma_3_12B_it_fp4_mixed.safetensors",
)
