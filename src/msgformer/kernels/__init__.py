"""Kernels for attention, norms and token reallocation: C++ for CPUs, Triton for NVIDIA GPUs."""
