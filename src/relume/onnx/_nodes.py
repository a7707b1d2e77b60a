"""ONNX nodes that are being put together, for the activations that need more than one."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import helper, numpy_helper


class Nodes:
    """Nodes that are being put together; every output has a name of its own."""

    def __init__(self, prefix: str, dtype: str) -> None:
        self.prefix, self.dtype = prefix, np.dtype(dtype)
        self.made: list[Any] = []
        self.constants: list[Any] = []

    def add(self, op: str, *inputs: str, **attributes: Any) -> str:
        """Add a node; returns its output's name."""
        name = f"{self.prefix}/{len(self.made)}_{op}"
        self.made.append(helper.make_node(op, list(inputs), [name], name=name, **attributes))
        return name

    def constant(self, value: Any) -> str:
        """Add a constant; returns its name."""
        name = f"{self.prefix}/constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, self.dtype), name))
        return name

    def leaky(self, x: str, slopes: Any, learned: bool = False) -> str:
        """LeakyRelu, or PRelu where the slopes are ``learned``; composed where ONNX Runtime has no equal.

        It has no kernel for float64, and with a negative slope its −0 stays −0.
        """
        if self.dtype == np.float64 or (slopes < 0).any():
            is_above = self.add("Greater", x, self.constant(0))
            return self.add("Where", is_above, x, self.add("Mul", x, self.constant(slopes)))
        if not learned:
            return self.add("LeakyRelu", x, alpha=float(slopes))
        return self.add("PRelu", x, self.constant(slopes))

    def bent(self, x: str, alpha: float, above: float, width: float) -> str:
        """``above * x`` above 0, else ``alpha * (exp(x / width) - 1)``."""
        zero = self.constant(0)
        is_above = self.add("Greater", x, zero)
        below = self.add("Where", is_above, zero, x)
        u = below if width == 1 else self.add("Div", below, self.constant(width))
        half = self.add("Tanh", self.add("Mul", u, self.constant(0.5)))
        fallen = self.add("Exp", u)
        bent = self.add("Mul", half, self.add("Add", fallen, self.constant(1)))
        far = self.add("Less", u, self.constant(-1))  # where tanh, almost −1, has lost what exp(x) still has
        bent = self.add("Where", far, self.add("Sub", fallen, self.constant(1)), bent)
        # Where it is u: tanh is inexact on subnormals. ONNX Runtime's Where loses a −0 of its second input.
        curved = self.add("Less", u, self.constant(-np.finfo(self.dtype).eps / 2))
        bent = self.add("Where", curved, bent, u)
        bent = bent if alpha == 1 else self.add("Mul", bent, self.constant(alpha))
        straight = x if above == 1 else self.add("Mul", x, self.constant(above))
        return self.add("Where", is_above, straight, bent)
