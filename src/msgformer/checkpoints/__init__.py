"""Checkpoint files, model cards, and the files that models are opened from. Imports no Lightning."""
