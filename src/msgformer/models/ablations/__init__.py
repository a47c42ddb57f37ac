"""Ablations of the papers."""
