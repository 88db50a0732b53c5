"""What happened in a run: plain values, text and pictures."""
