"""Trained models as files that other programs run, and running such files."""
