"""Batches: order, workers and splits."""
