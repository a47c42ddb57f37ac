"""C++ kernels for CPUs, and how they are compiled and called."""
