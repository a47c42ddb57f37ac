"""Runs of trainings: settings, run folder, provenance and report."""
