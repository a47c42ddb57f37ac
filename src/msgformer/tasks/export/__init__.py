"""Export of models of any task, with checks on real images."""
