"""Detectors and segmenters in a form that can be captured as a graph."""
