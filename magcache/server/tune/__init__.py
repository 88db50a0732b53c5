"""Search for the best settings of MagCache for a workflow."""
