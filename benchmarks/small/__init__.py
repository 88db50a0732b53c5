"""The small models on which quality is measured: their worlds, their training, and how they are sampled in ComfyUI and in a plain loop."""
