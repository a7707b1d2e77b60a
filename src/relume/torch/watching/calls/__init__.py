"""Calls of PyTorch → whether they are activations, and which."""
