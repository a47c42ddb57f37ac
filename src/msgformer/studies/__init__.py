"""Ablation studies: train the rows of a paper's table with the same settings."""
