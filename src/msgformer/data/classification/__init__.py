"""Labeled images for classifiers."""
