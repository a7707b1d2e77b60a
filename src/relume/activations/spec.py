"""A layer, described without its framework: what moves between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np

from relume.activations import ACTIVATIONS
from relume.activations._edge import axis_of
from relume.errors import ShapeError, SpecError


@dataclass(frozen=True, eq=False)
class Spec:
    """One activation layer: made by ``relume.to_spec``, taken by ``relume.from_spec``.

    Attributes:
        activation: its name.
        parameters: the definition's, as numbers; PReLU's ``weight`` as a NumPy array with one axis for each of ``axes``
            (none: one slope for all).
        axes: PReLU: the axes of the input that ``weight`` runs along, ascending, 0 the batch's; softmax: the one that
            it sums along. −1 is the last, where ``ndim`` is not known.
        ndim: the number of axes of the input, where the layer knows it.

    Raises:
        ParameterError: a parameter outside its bounds.
        ShapeError: ``weight`` has another number of axes than ``axes`` names, or they do not ascend.

    Example:
        >>> spec = Spec("prelu", {"weight": np.array([0.1, 0.2])}, axes=(1,), ndim=4)
        >>> spec.channels_last().axes
        (3,)
    """

    activation: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    axes: tuple[int, ...] = ()
    ndim: int | None = None

    def __post_init__(self) -> None:
        settled = ACTIVATIONS[self.activation].check(**self.parameters)
        if self.activation == "prelu":
            weight = np.asarray(settled["weight"])
            settled["weight"] = weight.reshape(()) if not self.axes and weight.size == 1 else weight
        object.__setattr__(self, "parameters", settled)
        if self.ndim is not None:
            shape = (None,) * self.ndim
            object.__setattr__(self, "axes", tuple(axis_of(axis, shape) for axis in self.axes))
        if self.activation == "prelu" and (
            settled["weight"].ndim != len(self.axes) or (len(self.axes) > 1 and not _ascend(self.axes))
        ):
            raise ShapeError(
                f"PReLU: weight of shape {settled['weight'].shape} cannot run along the axes {self.axes}. Expected one "
                "axis of the weight for each, in ascending order counted from the front.",
                slug="spec-axes",
            )

    def with_rank(self, ndim: int | None) -> Spec:
        """The same for inputs of ``ndim`` axes.

        Raises: SpecError: it was made for inputs of another number of axes.
        """
        if ndim is None or ndim == self.ndim:
            return self
        if self.ndim is not None:
            raise SpecError(
                f"This {ACTIVATIONS[self.activation].title} is of a layer for inputs of {self.ndim} axes; it was asked "
                f"for {ndim}. Leave ndim away.",
                slug="rank-needed",
            )
        return replace(self, ndim=ndim)

    def rank(self, why: str) -> int:
        """``ndim``.

        Raises: SpecError: it is not known.
        """
        if self.ndim is None:
            raise SpecError(
                f"The number of axes of the input is not known, and {why}. Give it: ndim=4 for a batch of images.",
                slug="rank-needed",
            )
        return self.ndim

    def channels_last(self) -> Spec:
        """For channels-last inputs what this is for channels-first ones: axis 1 becomes the last one."""
        if not self.axes:
            return self
        if self.ndim is None and self.axes == (1,):
            return replace(self, axes=(-1,))
        last = self.rank("where axis 1 goes depends on it") - 1
        return self._renumbered({0: 0, 1: last} | {axis: axis - 1 for axis in range(2, last + 1)})

    def channels_first(self) -> Spec:
        """For channels-first inputs what this is for channels-last ones: the last axis becomes axis 1."""
        if not self.axes:
            return self
        if self.ndim is None and self.axes == (-1,):
            return replace(self, axes=(1,))
        last = self.rank("which axis is the last depends on it") - 1
        return self._renumbered({0: 0} | {axis: axis + 1 for axis in range(1, last)} | {last: 1})

    def _renumbered(self, to: Mapping[int, int]) -> Spec:
        axes = [to[axis] for axis in self.axes]
        order = sorted(range(len(axes)), key=axes.__getitem__)
        parameters = dict(self.parameters)
        if self.activation == "prelu":
            parameters["weight"] = parameters["weight"].transpose(order)
        return Spec(self.activation, parameters, tuple(axes[i] for i in order), self.ndim)


def _ascend(axes: tuple[int, ...]) -> bool:
    return all(a < b for a, b in pairwise(axes))
