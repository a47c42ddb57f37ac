"""Checkpoint files and the card inside them, and which files a model may be opened from. Needs no Lightning."""
