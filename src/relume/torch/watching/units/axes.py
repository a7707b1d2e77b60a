"""Where a tensor's units lie, carried from the layer that made it through the operations after it.

Pure shape arithmetic. A :class:`Tag` says on which axis of a tensor the units of its layer are; a rule says what
an operation does to it. An operation without a rule keeps the tag where the result has the same rank and the same
size there, and loses it otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

Shape = Sequence[int]


class Borrowed(NamedTuple):
    """A layer whose weight is no parameter of its own: adapted, computed, averaged.

    ``name`` is that of the weight in ``owner``, the module whose code calls the layer; "" if it has none there.
    """

    owner: Any
    name: str


class Tag(NamedTuple):
    """Where the units are, and which layer made them.

    Along ``axis`` the unit of index i is ``(i // inner) % units``: a flattened (N, C, H, W) has axis 1, C units and
    inner H·W.

    Attributes:
        layer: the layer's weight, or for one that is no parameter the first own parameter of the module around it.
        borrowed: tells a layer apart whose weight is no parameter. ``depth``: how many layers lie before it.
        direct: nothing was added to it and it was not scaled by a plain number.
        layer_call: for the causes of deaths. ``site``: the number of the activation since; −1 before one.
        output: the name of that activation while nothing but its shape has changed since; "" otherwise.
    """

    axis: int
    units: int
    inner: int = 1
    layer: Any = None
    direct: bool = True
    layer_call: Any = None
    site: int = -1
    borrowed: Borrowed | None = None
    depth: int = 0
    output: str = ""

    @property
    def identity(self) -> tuple[Any, ...]:
        """Identifies the layer while it lives."""
        if self.borrowed is None:
            return (id(self.layer),)
        owner, name = self.borrowed
        return (id(owner), name) if name else (id(owner), name, self.depth)


def reshaped(tag: Tag, old: Shape, new: Shape) -> Tag | None:
    """The tag after a row-major reshape, or None where one axis no longer holds the units.

    A unit is ``(flat index // stride) % units``; the new axis is the one whose stride divides that of the units
    and which is a multiple of them.
    """
    stride = math.prod(old[tag.axis + 1 :]) * tag.inner
    for axis in range(len(new)):
        step = math.prod(new[axis + 1 :])
        if step and stride % step == 0:
            inner = stride // step
            whole = tag.units * inner
            if new[axis] >= whole and new[axis] % whole == 0:
                return tag._replace(axis=axis, inner=inner)
    return None


def kept(tag: Tag, old: Shape, new: Shape) -> Tag | None:
    """The tag after an operation that has no rule: kept if rank and size say that nothing moved."""
    if len(old) == len(new) and old[tag.axis] == new[tag.axis]:
        return tag._replace(output="") if tag.output else tag
    return None


def _dimensions(args: Sequence[Any], kwargs: Mapping[str, Any], *names: str) -> list[int]:
    """The axes named in a call: ``permute(0, 2, 1)``, ``permute((0, 2, 1))`` or by keyword."""
    given = list(args[1:]) or [kwargs[n] for n in names if n in kwargs]
    return [axis for entry in given for axis in (entry if isinstance(entry, (tuple, list)) else (entry,))]


def _permute(tag: Tag, x: Tensor, out: Tensor, args: Any, kwargs: Any) -> Tag | None:
    order = [axis % x.ndim for axis in _dimensions(args, kwargs, "dims")]
    return tag._replace(axis=order.index(tag.axis))


def _transpose(tag: Tag, x: Tensor, out: Tensor, args: Any, kwargs: Any) -> Tag | None:
    first, second = (axis % x.ndim for axis in _dimensions(args, kwargs, "dim0", "dim1", "axis0", "axis1"))
    swapped = {first: second, second: first}
    return tag._replace(axis=swapped.get(tag.axis, tag.axis))


def _mirror(tag: Tag, x: Tensor, out: Tensor, args: Any, kwargs: Any) -> Tag | None:
    """``.T``, ``.mT``, ``.t()``: the last two axes change places."""
    if x.ndim < 2:
        return tag
    last = {x.ndim - 1: x.ndim - 2, x.ndim - 2: x.ndim - 1}
    return tag._replace(axis=last.get(tag.axis, tag.axis))


def _movedim(tag: Tag, x: Tensor, out: Tensor, args: Any, kwargs: Any) -> Tag | None:
    source, target = (args[1], args[2]) if len(args) > 2 else (kwargs["source"], kwargs["destination"])
    moved = list(range(x.ndim))
    if not isinstance(source, int) or not isinstance(target, int):
        return None
    moved.insert(target % x.ndim, moved.pop(source % x.ndim))
    return tag._replace(axis=moved.index(tag.axis))


def _reshape(tag: Tag, x: Tensor, out: Tensor, args: Any, kwargs: Any) -> Tag | None:
    if x.numel() != out.numel():  # view(dtype) and the like
        return None
    return reshaped(tag, x.shape, out.shape)


def _reduce(tag: Tag, x: Tensor, out: Tensor, args: Any, kwargs: Any) -> Tag | None:
    """mean, sum, amax over given axes: units stay where their own axis does."""
    given = args[1] if len(args) > 1 else kwargs.get("dim")
    if given is None:
        return None
    gone = {axis % x.ndim for axis in ((given,) if isinstance(given, int) else given)}
    if tag.axis in gone:
        return None
    moved = 0 if out.ndim == x.ndim else sum(axis < tag.axis for axis in gone)  # 0: keepdim
    return tag._replace(axis=tag.axis - moved, output="")


def _shuffle(tag: Tag, x: Tensor, out: Tensor, args: Any, kwargs: Any) -> Tag | None:
    """Pixel (un)shuffle: its output channels are the new units."""
    return tag._replace(units=out.shape[-3]) if tag.axis == x.ndim - 3 else None


def _stack(tag: Tag, x: Tensor, out: Tensor, args: Any, kwargs: Any) -> Tag | None:
    new = (args[1] if len(args) > 1 else kwargs.get("dim", 0)) % out.ndim
    return tag._replace(axis=tag.axis + (new <= tag.axis), output="")


def _cat(tag: Tag, x: Tensor, out: Tensor, args: Any, kwargs: Any) -> Tag | None:
    joined = (args[1] if len(args) > 1 else kwargs.get("dim", 0)) % out.ndim
    if joined != tag.axis:
        return tag._replace(output="")
    return tag._replace(units=out.shape[joined], output="") if tag.inner == 1 else None


def _split(tag: Tag, x: Tensor, out: Tensor, args: Any, kwargs: Any) -> Tag | None:
    """chunk and split: a part of the units is a layer of its own width."""
    if out.ndim != x.ndim:
        return None
    if out.shape[tag.axis] == x.shape[tag.axis]:
        return tag
    return tag._replace(units=out.shape[tag.axis]) if tag.inner == 1 else None


Rule = Callable[[Tag, Tensor, Tensor, Any, Any], Tag | None]

RULES: dict[Callable[..., Any], Rule] = {
    **dict.fromkeys((torch.permute, Tensor.permute), _permute),
    **dict.fromkeys((torch.transpose, Tensor.transpose, torch.swapaxes, Tensor.swapaxes), _transpose),
    **dict.fromkeys((torch.swapdims, Tensor.swapdims), _transpose),
    **dict.fromkeys((torch.t, Tensor.t, Tensor.T.__get__, Tensor.mT.__get__, Tensor.adjoint), _mirror),
    **dict.fromkeys((torch.movedim, Tensor.movedim, torch.moveaxis, Tensor.moveaxis), _movedim),
    **dict.fromkeys((Tensor.view, Tensor.reshape, torch.reshape, torch.flatten, Tensor.flatten), _reshape),
    **dict.fromkeys((torch.squeeze, Tensor.squeeze, torch.unsqueeze, Tensor.unsqueeze), _reshape),
    **dict.fromkeys((torch.unflatten, Tensor.unflatten, Tensor.view_as, Tensor.reshape_as), _reshape),
    **dict.fromkeys((torch.mean, Tensor.mean, torch.sum, Tensor.sum, torch.amax, Tensor.amax), _reduce),
    **dict.fromkeys((torch.amin, Tensor.amin, torch.logsumexp, Tensor.logsumexp), _reduce),
    **dict.fromkeys((torch.pixel_shuffle, torch.pixel_unshuffle), _shuffle),
    **dict.fromkeys((torch.cat, torch.concat, torch.concatenate), _cat),
    torch.stack: _stack,
    **dict.fromkeys((torch.chunk, Tensor.chunk, torch.split, Tensor.split), _split),
}
"""Operations that move, split or join axes."""


def assumed_axis(shape: Shape) -> int:
    """The unit axis of a tensor whose layer is not known; a report marks it ``axis_assumed``.

    (N, C, H, W) and (N, C, D, H, W): 1; (N, T, F) and (N, F): the last; (F,): 0.
    """
    return 1 if len(shape) >= 4 else max(len(shape) - 1, 0)


def fitting(tag: Tag | None, x: Tensor) -> tuple[Tag, bool]:
    """The tag, or the assumed one if it is missing or does not fit the tensor."""
    if tag is not None and tag.axis < x.ndim and x.shape[tag.axis] % max(tag.units * tag.inner, 1) == 0:
        return tag, False
    axis = assumed_axis(x.shape)
    return Tag(axis, x.shape[axis] if x.ndim else 1), True
