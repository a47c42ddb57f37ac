"""C++ kernels for CPUs, with their compilation and calls."""
