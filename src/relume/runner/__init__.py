"""Run a script as ``python script.py args`` does, so that it sees no difference."""
