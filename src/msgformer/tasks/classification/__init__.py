"""The task of classification."""
