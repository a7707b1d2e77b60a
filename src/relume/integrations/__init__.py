"""Watching from inside other people's trainers and loggers: a few lines each over :func:`relume.watch`.

Each library is imported only in the file of its name. What is logged is ``Findings.to_metrics()``.
"""
