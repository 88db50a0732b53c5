"""Compare sampling with and without MagCache on a server: times and pictures."""
