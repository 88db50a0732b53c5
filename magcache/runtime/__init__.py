"""One run in any host: its residuals, its decisions, and the model's forward with the block stack watched or skipped."""
