"""Sampling with and without MagCache, side by side."""
