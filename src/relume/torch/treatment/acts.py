"""What a contender computes: ``call(input, in place)``, as in a hand-edited copy of the script."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from relume.artifacts.trial import Contender
from relume.torch.treatment import originals
from relume.treatment.own import own

EXPECTED = "an nn.Module class or a function that takes a tensor"
"""Of a contender of the user's own."""

Call = Callable[[Tensor, bool], Tensor]


def plain(contender: Contender) -> Call:
    """The call of a contender without parameters and random numbers."""
    if contender.target:
        return wrapped(own(contender, nn.Module, EXPECTED))
    call, has_inplace = originals.contender(contender.activation)
    numbers = dict(contender.parameters)
    if has_inplace:
        return lambda input, inplace: call(input, inplace=inplace, **numbers)
    return wrapped(lambda input: call(input, **numbers) if numbers else call(input))


def wrapped(compute: Callable[[Tensor], Tensor]) -> Call:
    """A computation without an in-place form: its result overwrites the input if the script works in place."""

    def call(input: Tensor, inplace: bool) -> Tensor:
        if inplace:
            return input.copy_(compute(input.clone()))  # what it stores for the backward pass must not be overwritten
        return compute(input)

    return call
