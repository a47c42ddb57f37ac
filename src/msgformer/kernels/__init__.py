"""Compiled kernels, for CPUs and GPUs."""
