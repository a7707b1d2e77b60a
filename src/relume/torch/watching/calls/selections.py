"""Sparse codes by top-k: which units a ``topk`` selected, and what was made of their values and indices.

A top-k over units is a sparse code if a ReLU comes before it or works on its values, or if what it selected is
scattered into zeros. A router's is none: a softmax works on its values. Units are read from the indices, never from a
dense tensor.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from relume.torch.watching.calls.functions import Applied
from relume.torch.watching.units.axes import Tag
from relume.torch.watching.units.following import Follower
from relume.torch.watching.units.values import Values

CODE = Applied("relu", {}, code=True)
TOPK_CALLS = frozenset((torch.topk, Tensor.topk))
SCATTER_CALLS = frozenset((torch.scatter, Tensor.scatter, Tensor.scatter_))


class Selection:
    """What one ``topk`` selected.

    ``tag``, ``shape``: of the tensor from which it selected. ``indices`` gives its indices while they are alive.
    ``site``: the number of the site at which it was counted, −1 before.
    """

    def __init__(self, tag: Tag, shape: torch.Size, indices: Tensor) -> None:
        self.tag = tag
        self.shape = shape
        self.indices: Callable[[], Tensor | None] = weakref.ref(indices)
        self.site = -1

    def units(self) -> Tensor | None:
        """The units that were selected, in the shape of the values; None if the indices are gone."""
        indices, tag = self.indices(), self.tag
        if indices is None:
            return None
        indices = indices.detach()
        whole = self.shape[tag.axis] == tag.units
        return indices if whole else indices.div(tag.inner, rounding_mode="floor").remainder(tag.units)

    def like(self, values: Tensor) -> Tensor:
        """A tensor of the shape and the kind from which was selected, of one number."""
        return values.detach().reshape(-1)[:1].expand(self.shape)


class Selections(Values):
    """The selections of one look, by their values and their indices."""

    def __init__(self, follower: Follower) -> None:
        super().__init__()
        self._follower = follower

    def take(self, args: Any, kwargs: Mapping[str, Any], out: Any) -> Selection | None:
        """Remember a ``topk`` over the units of a tensor."""
        x = args[0] if args else kwargs.get("input")
        tag = self._follower.of(x)
        if not isinstance(tag, Tag):
            return None
        axis = (args[2] if len(args) > 2 else kwargs.get("dim", -1)) % x.ndim
        if axis != tag.axis or not out[0].numel():
            return None
        selection = Selection(tag, x.shape, out[1])
        for part in out:
            self.put(part, selection)
        return selection

    def scattered(self, args: Any, kwargs: Mapping[str, Any]) -> tuple[Selection, Any] | None:
        """The selection whose indices a ``scatter`` uses, and what it writes there: a tensor or a number."""
        index = args[2] if len(args) > 2 else kwargs.get("index")
        source = args[3] if len(args) > 3 else kwargs.get("src", kwargs.get("value"))
        selection = self.of(index)
        if selection is None or self._follower.of(args[0]) is not None:
            return None
        return selection, source
