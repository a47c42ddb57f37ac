"""Copies of models that are faster in inference, and equal up to rounding."""
