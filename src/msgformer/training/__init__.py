"""Training: optimizer, schedule, training loop and checkpoints."""
