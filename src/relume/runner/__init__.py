"""Be ``python script.py args``, so that a script cannot tell the difference."""
