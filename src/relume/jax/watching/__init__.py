"""Watching JAX: a second program, pure, that holds nothing but the counts of a training step."""
