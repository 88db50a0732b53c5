"""What was measured: magnitude curves, the files they are kept in, and the ones that come with MagCache."""
