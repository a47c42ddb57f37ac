"""Pooled features of images."""
