"""Full-size models on a GPU."""
