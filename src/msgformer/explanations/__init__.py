"""Visualize the inner workings of a model: traced values, figures and an interactive page."""
