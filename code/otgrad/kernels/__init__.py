"""The two products of size b x n, as plain torch, as C++ for CPUs and in Triton for GPUs; see `dispatch`."""
