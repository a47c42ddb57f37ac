"""Plots, pages and drawings."""
