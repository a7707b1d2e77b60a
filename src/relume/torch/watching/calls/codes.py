"""Sparse codes by top-k: which units a ``topk`` selected, and what was made of their values and indices.

A top-k over units is a sparse code if a ReLU comes before it or works on its values, or if what it selected is
scattered into zeros. A router's is none: it selects by a softmax or a sigmoid, or these work on its values. Units are
read from the indices, never from a dense tensor.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from types import FrameType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from relume.torch.watching.calls.arithmetic import Forms
from relume.torch.watching.calls.functions import Applied
from relume.torch.watching.units.axes import Tag
from relume.torch.watching.units.following import Follower, is_countable
from relume.torch.watching.units.values import Values

if TYPE_CHECKING:
    from relume.torch.watching.probe import TorchProbe

CODE = Applied("relu", {}, code=True)
TOPK_CALLS = frozenset((torch.topk, Tensor.topk))
SCATTER_CALLS = frozenset((torch.scatter, Tensor.scatter, Tensor.scatter_))

UNKNOWN_INDICES = "its indices do not come from torch.topk; if it is a sparse code, count it with relume.tap"
IN_A_GRAPH = (
    "in a compiled graph what it selects is not seen, so the ReLU before it is judged; count it with relume.tap"
)


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


class Codes(Values):
    """The selections of one look, by their values and their indices."""

    def __init__(self, probe: TorchProbe, tags: Follower, forms: Forms, softmaxes: Values) -> None:
        super().__init__()
        self._probe = probe
        self._tags = tags
        self._forms = forms
        self._softmaxes = softmaxes

    def selected(self, args: Any, kwargs: Mapping[str, Any], out: Any, frame: FrameType) -> None:
        """Remember a ``topk`` over the units of a tensor, and count it if that is a ReLU's."""
        x = args[0] if args else kwargs.get("input")
        tag = self._tags.of(x)
        axis = args[2] if len(args) > 2 else kwargs.get("dim", -1)
        if x is None or not isinstance(tag, Tag) or axis % x.ndim != tag.axis or not out[0].numel():
            return
        if self.is_router(x):
            return
        selection = Selection(tag, x.shape, out[1])
        for part in out:
            self.put(part, selection)
        if tag.output == "relu":
            self._count("relu, topk", selection, out[0], frame)

    def is_router(self, x: Any) -> bool:
        """Whether a tensor has probabilities or scores of choices, of a softmax or a sigmoid, and no latents."""
        return self._softmaxes.of(x) is not None or getattr(self._tags.of(x), "output", "") not in ("", "relu")

    def rectified(self, x: Any, frame: FrameType) -> bool:
        """A ReLU works on a tensor: count it if that has selected values; False if it has none."""
        selection = self.of(x)
        if selection is not None:
            self._count("topk, relu", selection, x, frame)
        return selection is not None

    def scattered(self, func: Any, args: Any, kwargs: Mapping[str, Any], out: Any, frame: FrameType) -> None:
        """What was selected is scattered into zeros: a sparse code, or with a plain number the mask of one."""
        index = args[2] if len(args) > 2 else kwargs.get("index")
        source = args[3] if len(args) > 3 else kwargs.get("src", kwargs.get("value"))
        selection = self.of(index) if self._tags.of(args[0]) is None else None
        if selection is None:
            if self._forms.is_like_units(args[0]) and isinstance(source, Tensor):
                self._probe.sites.unjudged("scatter into zeros", frame, UNKNOWN_INDICES)
            self._tags.follow(func, args, kwargs, out)
            return
        if not isinstance(source, Tensor):
            self._forms.gate(out)
            self._tags.put(out, selection.tag._replace(layer_call=None, output=""))
            return
        if not self.is_router(source):
            self._count("topk, scatter", selection, source, frame)
        if selection.site >= 0 and out.shape == selection.shape:
            self._tags.put(out, selection.tag._replace(layer_call=None, site=selection.site, output="relu"))

    def _count(self, call: str, selection: Selection, values: Tensor, frame: FrameType) -> None:
        """Count which units were selected, by values and indices; a selection is counted once."""
        units, sites = selection.units(), self._probe.sites
        if selection.site >= 0 or units is None or not is_countable(values) or values.shape != units.shape:
            return
        found = sites.find(CODE, call, (), selection.like(values), selection.tag, frame)
        if found is None:
            return
        site, tag = found
        selection.site = site.number
        sites.follow_on(selection.tag.site, site)
        site.accumulator.selected(units, values, selection.shape.numel() // tag.units, site.clock.step)
        if tag.layer_call is not None and not sites.known_only:
            sites.keep_terms(site, selection.like(values), tag)
