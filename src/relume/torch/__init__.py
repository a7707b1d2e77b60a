"""relume on PyTorch: how its networks are watched."""
