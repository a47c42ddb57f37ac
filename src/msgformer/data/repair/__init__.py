"""Repaired copies of datasets, as far as that needs no decision about their content."""
