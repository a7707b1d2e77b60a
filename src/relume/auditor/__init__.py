"""Checkpoint → findings, without running anything: what weights and an optimizer's moments show about units.

``files.py`` reads a file into a tree of arrays, ``checkpoint.py`` finds weights and moments in it, ``layers.py`` sorts
them into layers with units, ``proofs.py`` and ``moments.py`` judge the units, and ``audit.py`` puts it together.
"""
