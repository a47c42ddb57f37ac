"""Measure models: time, memory, parameters and multiply-adds."""
