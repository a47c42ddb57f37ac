"""Insight: what a model does, in numbers, plots and pages. It takes plain arrays and pictures, from any task."""
