"""A ComfyUI server as its clients see it, over the public HTTP and websocket API, and what is measured on it."""
