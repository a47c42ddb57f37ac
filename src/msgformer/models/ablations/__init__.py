"""Variants from the papers' ablation tables."""
