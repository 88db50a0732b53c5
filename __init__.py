"""MagCache for ComfyUI: this folder is a custom node and, at the same time, the Python package `magcache`."""

import logging

WEB_DIRECTORY = "./web"


async def comfy_entrypoint():
    try:
        from .magcache.comfyui.extension import MagCacheExtension
    except ImportError:
        logging.exception("MagCache could not be loaded. It needs ComfyUI 0.16.3 or newer.")
        raise
    return MagCacheExtension()
