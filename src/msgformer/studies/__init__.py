"""Ablation studies: many runs under one budget, as one table."""
