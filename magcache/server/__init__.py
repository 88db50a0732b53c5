"""What the command line does on a ComfyUI that runs elsewhere, over its public HTTP and websocket API."""
