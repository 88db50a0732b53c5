"""MagCache in ComfyUI."""
