"""The architectures that MagCache can skip in ComfyUI."""

from .chroma import CHROMA
from .family import Family as Family
from .family import ModelFacts as ModelFacts
from .family import find_family as find_family
from .flux import FLUX
from .hunyuan_video import HUNYUAN_VIDEO
from .qwen_image import QWEN_IMAGE
from .wan import WAN

FAMILIES: tuple[Family, ...] = (FLUX, CHROMA, HUNYUAN_VIDEO, WAN, QWEN_IMAGE)
