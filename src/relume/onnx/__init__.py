"""The family in ONNX: models of single activations, and models of others with ELU, CELU and SELU put right.

Example:
    >>> import numpy as np
    >>> from relume.activations.spec import Spec
    >>> from relume.onnx import model
    >>> [node.op_type for node in model(Spec("prelu", {"weight": np.array([0.1, 0.2])}, axes=(1,)), ndim=4).graph.node]
    ['PRelu']
"""

from __future__ import annotations

from relume.onnx.functional import keep_digits, model, nodes

__all__ = ["keep_digits", "model", "nodes"]
