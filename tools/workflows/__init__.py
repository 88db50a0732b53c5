"""The example workflows: short descriptions, and what makes files of them."""
