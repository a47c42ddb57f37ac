"""Weights from elsewhere, and averages of weights."""
