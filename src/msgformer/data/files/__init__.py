"""Locations and reading of image files."""
