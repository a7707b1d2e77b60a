"""Cures for PyTorch models. Each verb changes a model and proves on a batch what it did.

| to read about | open |
|---|---|
| the model as a graph of operations, with its live weights | ``program.py`` |
| which weights read a unit, which way its channel goes | ``channels.py`` |
| an activation with the layer that feeds it and those that read it | ``gates.py`` |
| writing into weights and optimizer state, and taking it back | ``rewrite.py`` |
| a forward without side effects, and how outputs are compared | ``rest.py`` |
| models and batches that are rejected | ``refusals.py`` |
| a verb | the file of its name |
"""
