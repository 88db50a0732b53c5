"""The architectures that MagCache can skip in ComfyUI."""

from ...runtime.family import Family
from .chroma import CHROMA
from .flux import FLUX
from .hunyuan_video import HUNYUAN_VIDEO
from .images import IMAGES
from .omnigen2 import OMNIGEN2
from .pictures import PICTURES
from .qwen_image import QWEN_IMAGE
from .sounds import SOUNDS
from .videos import VIDEOS
from .wan import WAN
from .whole import WHOLE

FAMILIES: tuple[Family, ...] = (FLUX, CHROMA, HUNYUAN_VIDEO, *VIDEOS, WAN, QWEN_IMAGE, OMNIGEN2, *IMAGES, *PICTURES, *SOUNDS, *WHOLE)
"""The first that fits a model is its family: what is derived from another class stands in front of it."""
