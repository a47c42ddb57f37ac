"""Datasets: from image files and bundled sets to batches of tensors."""
