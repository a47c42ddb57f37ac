"""Plots, HTML pages, and drawings on images."""
