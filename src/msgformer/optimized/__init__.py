"""Optimized copies of the models for inference."""
