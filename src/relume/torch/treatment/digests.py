"""Digests of the trained parameters: at each optimizer's first step, and at the end."""

from __future__ import annotations

import hashlib
import weakref
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


class Digests:
    """SHA-256 of every optimizer's parameters, in the order of the optimizers' first steps.

    Args:
        is_slope: the contender's own parameters; the digest of the start leaves them out, to show whether two
            contenders began alike.
    """

    def __init__(self, is_slope: Callable[[Any], bool]) -> None:
        self._is_slope = is_slope
        self._kept: list[_Kept] = []
        self._known: dict[int, _Kept] = {}
        self._latest: _Kept | None = None

    def steps(self, optimizer: Optimizer) -> None:
        """A step begins."""
        kept = self._latest
        if kept is None or kept.optimizer() is not optimizer:
            kept = self._latest = self._of(optimizer)
        kept.groups = optimizer.param_groups  # load_state_dict creates a new list

    def _of(self, optimizer: Optimizer) -> _Kept:
        kept = self._known.get(id(optimizer))
        if kept is None or kept.optimizer() is not optimizer:
            kept = _Kept(optimizer, self._is_slope)
            kept.start = _digest(
                p for group in optimizer.param_groups for p in group["params"] if not self._is_slope(p)
            )
            self._known[id(optimizer)] = kept
            self._kept.append(kept)
        return kept

    def start(self) -> str:
        """The digest of the parameters at the first steps; "" without a step."""
        return _joined(kept.start for kept in self._kept)

    def trained(self) -> str:
        """The digest of the parameters now, or when their optimizer was dropped."""
        return _joined([kept.now() for kept in self._kept])

    def learned(self) -> int:
        """How many of the contender's own parameters were trained; after :meth:`trained`."""
        return sum({own: size for kept in self._kept for own, size in kept.learned.items()}.values())


class _Kept:
    """One optimizer; its parameters are kept until it is dropped, when they are digested."""

    def __init__(self, optimizer: Optimizer, is_slope: Callable[[Any], bool]) -> None:
        self.optimizer = weakref.ref(optimizer)
        self.groups: list[dict[str, Any]] = []
        self.start = ""
        self.learned: dict[int, int] = {}
        self._is_slope = is_slope
        self._last = ""
        weakref.finalize(optimizer, self._gone).atexit = False

    def _gone(self) -> None:
        self.now()
        self.groups = []

    def now(self) -> str:
        if not self._last:
            parameters = [p for group in self.groups for p in group["params"]]
            self.learned = {id(p): p.numel() for p in parameters if self._is_slope(p)}
            self._last = _digest(parameters)
        return self._last


def _digest(parameters: Iterable[Any]) -> str:
    digest = hashlib.sha256()
    with torch.no_grad(), torch._C.DisableTorchFunction():
        for parameter in parameters:
            plain = parameter.detach()
            if not isinstance(plain, Tensor) or plain.device.type == "meta" or plain.layout is not torch.strided:
                continue
            digest.update(f"{plain.dtype}{tuple(plain.shape)}".encode())
            if plain.numel():
                digest.update(plain.cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _joined(digests: Iterable[str]) -> str:
    each = list(digests)
    return hashlib.sha256("".join(each).encode()).hexdigest() if each else ""
