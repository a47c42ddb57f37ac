"""Predictions: predictors, streams, results and files."""
