"""Activations that a script writes as arithmetic: ``x * (x > 0)``, ``torch.max(x, zeros)``, ``(x + x.abs()) / 2``.

A form that equals a ReLU is judged as one. So is a sparse code: a JumpReLU (``x * (x > t)``), or a ReLU's output times
a gate (``relu(a) * (b > 0)``, a mask of top-k indices). Any other (a value that is not 0) is listed.
Eager calls and compiled graphs are read by the same code; what differs is how a value refers to itself.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from relume.torch.watching.calls.functions import Applied
from relume.torch.watching.units.axes import Tag
from relume.torch.watching.units.following import Follower
from relume.torch.watching.units.values import Values, nothing, reference

WHY = "it is written as arithmetic that is not a ReLU; a single call, such as F.leaky_relu(x), would be judged"

_MOST_ZEROS = 1 << 16
"""Elements of a tensor on the CPU that are read to see whether all are 0 (20 µs)."""


class Form(NamedTuple):
    """An activation written as arithmetic: how, of which tensor, and whether it is judged as a ReLU.

    ``at_zero``: its threshold is 0, as that of no mask of a loss or of a metric is. ``code``: it gives a sparse code.
    """

    name: str
    x: Any
    is_relu: bool
    at_zero: bool = True
    code: bool = False

    @property
    def applied(self) -> Applied | None:
        """What it is judged as; None: it is only listed."""
        return Applied("relu", {}, clamp=True, code=self.code) if self.is_relu else None


class _Note(NamedTuple):
    """What a value is: a comparison, a magnitude or a multiple of the tensor that ``of`` refers to, a gate, or zeros.

    ``sign``: of a comparison, 1 if it is true where the tensor is above the bound, −1 where it is below.
    ``at_zero``: the bound is 0.
    """

    kind: str
    of: Callable[[], Any]
    sign: int = 0
    at_zero: bool = True


_UP, _DOWN = ("gt", "ge", "greater", "greater_equal"), ("lt", "le", "less", "less_equal")
_ABSOLUTE = ("abs", "absolute")
_CASTS = ("float", "half", "bfloat16", "double", "to", "type", "type_as")
_OPPOSITE = ("logical_not", "bitwise_not", "invert")
_ZEROS = ("zeros", "zeros_like", "new_zeros")
_SUMS, _PRODUCTS = ("add", "radd", "iadd"), ("mul", "rmul", "imul", "multiply")
_MAXIMA = ("max", "maximum", "fmax")
_FILLS = ("masked_fill",)
_CHOICES = ("where",)
_SETS = ("setitem",)


def _calls(names: Iterable[str]) -> dict[Any, str]:
    """Each way to call these: of torch, of a tensor, by an operator, in place, in an exported program."""
    found: dict[Any, str] = {}
    for name in names:
        spellings = (name, f"{name}_", f"__{name}__", f"__i{name}__", f"__r{name}__")
        for home in (torch, Tensor, operator):
            found |= {getattr(home, text): name for text in spellings if callable(getattr(home, text, None))}
        for packet in (getattr(torch.ops.aten, text, None) for text in spellings[:2]):
            found |= {getattr(packet, way): name for way in packet.overloads()} if packet is not None else {}
    return found


NOTED = _calls((*_UP, *_DOWN, *_ABSOLUTE, *_CASTS, *_OPPOSITE, *_ZEROS, *_PRODUCTS))
"""Calls whose results are remembered, by their names."""

JOINS = _calls((*_SUMS, *_PRODUCTS, *_MAXIMA, *_FILLS, *_CHOICES, *_SETS))
"""Calls that may complete an activation, by their names."""


def gives_zeros(func: Any) -> bool:
    """Whether a call of :data:`NOTED` gives a tensor of zeros."""
    return NOTED[func] in _ZEROS


class Forms(Values):
    """The operands of one look, by the values that a follower follows; ``of_units``: of those that have units."""

    def __init__(self, follower: Follower, *, of_units: bool = True) -> None:
        super().__init__()
        self._follower = follower
        self._of_units = of_units

    def _is_tensor(self, x: Any) -> bool:
        return self._follower.shaped(x) is not None

    def _has_units(self, x: Any) -> bool:
        return isinstance(self._follower.of(x), Tag) if self._of_units else self._is_tensor(x)

    # ---- operands ---------------------------------------------------------------------------------------------

    def note(self, func: Any, args: Any, out: Any) -> None:
        """Remember what a call's result is."""
        name = NOTED[func]
        first = args[0] if args else None
        known = self.of(first)
        note: _Note | None = None
        if name in _ZEROS:
            note = _Note("zeros", reference(first if self._has_units(first) else None))
        elif name in _UP or name in _DOWN:
            note = self._comparison(args, 1 if name in _UP else -1)
        elif name in _ABSOLUTE and self._has_units(first):
            note = _Note("magnitude", reference(first))
        elif known is not None and known.kind in ("comparison", "gate"):
            note = known if name in _CASTS else known._replace(sign=-known.sign) if name in _OPPOSITE else None
        elif name in _PRODUCTS and len(args) > 1 and sum(self._is_tensor(x) for x in args[:2]) == 1:
            scaled = args[0] if self._is_tensor(args[0]) else args[1]
            note = _Note("multiple", reference(scaled)) if self._has_units(scaled) else None
        if note is not None and self._is_tensor(out):
            self.put(out, note)

    def _comparison(self, args: Any, sign: int) -> _Note | None:
        if len(args) < 2:
            return None
        x, bound = args[:2]
        if not self._has_units(x):  # Python asks a Parameter first, so that x > threshold is threshold.__lt__(x)
            x, bound, sign = bound, x, -sign
        if not self._has_units(x):
            return None
        known = self.of(x)
        if known is not None and known.kind == "magnitude":  # |x| > t
            return _Note("comparison", known.of, sign, at_zero=False)
        return _Note("comparison", reference(x), sign, self.is_zero(bound))

    def is_like_units(self, x: Any) -> bool:
        """Whether a tensor is of zeros, made like one that has units."""
        note = self.of(x)
        return note is not None and note.kind == "zeros" and note.of is not nothing

    def gate(self, mask: Any) -> None:
        """Remember that a tensor is a mask of the units which a sparse code keeps."""
        self.put(mask, _Note("gate", nothing, 1, at_zero=False))

    def is_zero(self, x: Any) -> bool:
        """Whether a value is 0 everywhere; a tensor on an accelerator is not read, as that would wait for it."""
        if isinstance(x, (int, float)):
            return x == 0
        note = self.of(x)
        if note is not None or type(x) is not Tensor or x.device.type != "cpu" or x.numel() > _MOST_ZEROS:
            return note is not None and note.kind == "zeros"
        if torch._C._functorch.is_functorch_wrapped_tensor(x) or torch._C._len_torch_dispatch_stack():
            return False
        return x.layout is torch.strided and not x.is_complex() and not bool(x.detach().count_nonzero())

    # ---- forms ------------------------------------------------------------------------------------------------

    def form(self, func: Any, args: Any, kwargs: Mapping[str, Any]) -> Form | None:
        """The activation that a call of :data:`JOINS` completes, if it does."""
        name = JOINS[func]
        if name in _MAXIMA:
            return self._maximum((*args, kwargs["other"]) if "other" in kwargs else args)
        if not self._known or len(args) < 2:
            return None
        if name in _PRODUCTS:
            return self._product(args[:2])
        if name in _SUMS:
            return self._sum(args[:2])
        if name in _CHOICES:
            return self._choice(args, func)
        return self._fill(name, args) if len(args) > 2 else None

    def _compared(self, mask: Any, *with_: Any) -> tuple[Any, _Note] | None:
        """The tensor among some whose comparison a mask is, or whose gate, and what the mask is."""
        note = self.of(mask)
        if note is None or note.kind not in ("comparison", "gate"):
            return None
        compared = note.of()
        if compared is not None and any(other is compared for other in with_):
            return compared, note
        gated = next((x for x in with_ if note.sign == 1 and self._is_gated(x, mask, note)), None)
        return None if gated is None else (gated, note._replace(kind="gate", at_zero=False))

    def _is_gated(self, x: Any, mask: Any, note: _Note) -> bool:
        """Whether a mask of units, of other ones than x's own, chooses among x's."""
        if not self._has_units(x) or self._follower.shaped(x).shape != self._follower.shaped(mask).shape:
            return False
        return note.kind == "gate" or getattr(self._follower.of(x), "output", "") == "relu"

    def _product(self, args: Any) -> Form | None:
        for x, mask in (args, args[::-1]):
            if (found := self._compared(mask, x)) is None:
                continue
            if found[1].kind == "gate":
                return Form("x * gate", x, True, at_zero=False, code=True)
            _, _, sign, at_zero = found[1]
            name = f"x * (x {'>' if sign == 1 else '<'} {'0' if at_zero else 't'})"
            return Form(name, x, sign == 1, at_zero, code=not at_zero)
        return None

    def _sum(self, args: Any) -> Form | None:
        for x, magnitude in (args, args[::-1]):
            note = self.of(magnitude)
            if note is not None and note.kind == "magnitude" and note.of() is x:
                return Form("(x + |x|) / 2", x, True)  # before it is halved: it fires where a ReLU does
        return None

    def _maximum(self, args: Any) -> Form | None:
        if len(args) < 2 or not self._is_tensor(args[0]) or not self._is_tensor(args[1]):
            return None
        for x, other in (args[:2], args[1::-1]):
            note = self.of(other)
            if not self._has_units(x):
                continue
            if self.is_zero(other):
                return Form("max(x, 0)", x, True)
            if note is not None and note.kind == "multiple" and note.of() is x:
                return Form("max(x, a * x)", x, False)
        return None

    def _choice(self, args: Any, func: Any) -> Form | None:
        if len(args) < 3:
            return None
        mask, kept, other = (args[1], args[0], args[2]) if func is Tensor.where else args[:3]
        found = self._compared(mask, kept, other)
        if found is None:
            return None
        x, (kind, _, sign, at_zero) = found
        passed, stopped = (kept, other) if sign == 1 else (other, kept)
        mine = "gate" if kind == "gate" else "x > 0" if at_zero else "x > t"
        if passed is x and self.is_zero(stopped):
            return Form(f"where({mine}, x, 0)", x, True, at_zero, code=mine != "x > 0")
        return Form(f"where({mine}, x, ...)", x, False, at_zero)

    def _fill(self, name: str, args: Any) -> Form | None:
        x, mask, value = args[:3]
        found = self._compared(mask, x)
        if found is None or found[1].kind == "gate":
            return None
        _, _, sign, at_zero = found[1]
        written = "x[x < {}] = {}" if name in _SETS else "masked_fill(x < {}, {})"
        bound = "0" if at_zero else "t"
        if sign == -1 and self.is_zero(value):
            return Form(written.format(bound, 0), x, True, at_zero, code=not at_zero)
        return Form(written.format(bound, "..."), x, False, at_zero)
