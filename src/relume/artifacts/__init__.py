"""The files that pass between the stages: standard library and NumPy only."""
