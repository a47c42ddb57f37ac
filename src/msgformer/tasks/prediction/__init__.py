"""Predictions: streams, results, files."""
