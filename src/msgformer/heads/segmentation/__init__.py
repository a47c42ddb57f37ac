"""Segmentation heads."""
