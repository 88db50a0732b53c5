"""The architectures that MagCache can skip in ComfyUI."""

from ...runtime.family import Family
from .chroma import CHROMA
from .flux import FLUX
from .hunyuan_video import HUNYUAN_VIDEO
from .qwen_image import QWEN_IMAGE
from .wan import WAN

FAMILIES: tuple[Family, ...] = (FLUX, CHROMA, HUNYUAN_VIDEO, WAN, QWEN_IMAGE)
