"""The demo: a small model, its prompts and pictures, sampled on a real ComfyUI server."""
