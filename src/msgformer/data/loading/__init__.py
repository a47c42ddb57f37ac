"""Samplers, data loaders and splits."""
