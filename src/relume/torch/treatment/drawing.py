"""Random slopes inside ``torch.compile``: an operation for graphs, with a generator that has a number."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

_library = torch.library.Library("relume_lab", "FRAGMENT")
_library.define(
    "drawn(Tensor x, float lower, float upper, int of) -> Tensor", tags=(torch.Tag.nondeterministic_seeded,)
)
_generators: list[Callable[[torch.device], torch.Generator]] = []


def _draw(x: Tensor, lower: float, upper: float, of: int) -> Tensor:
    return torch.empty_like(x, requires_grad=False).uniform_(lower, upper, generator=_generators[of](x.device))


# a graph runs it while dynamo looks at every frame: it would compile this one too
_library.impl("drawn", torch.compiler.disable(_draw), "CompositeExplicitAutograd")
torch.library.register_fake("relume_lab::drawn", lambda x, lower, upper, of: torch.empty_like(x), lib=_library)


def register(generator: Callable[[torch.device], torch.Generator]) -> int:
    """The number by which a graph refers to the generator."""
    _generators.append(generator)
    return len(_generators) - 1
