"""Watching Keras on each of its backends: which layer, which line, which optimizer."""
