"""Speed and memory of full-size models on a GPU."""
