"""Training: optimisation, loops, checkpoints."""
