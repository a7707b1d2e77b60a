"""Watching TensorFlow: activations are counted inside the traced graphs."""
