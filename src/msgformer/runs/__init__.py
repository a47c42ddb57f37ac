"""Run folders: a training from its settings to its report."""
