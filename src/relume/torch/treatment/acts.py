"""What a contender computes: ``call(input, in place)``, as in a hand-edited copy of the script."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from relume.artifacts.trial import Contender
from relume.errors import StudyError
from relume.torch.treatment import originals

Call = Callable[[Tensor, bool], Tensor]


def own(contender: Contender) -> Any:
    """The user's own class or function.

    Raises: StudyError: it cannot be imported, or is not an nn.Module class or a function.
    """
    module, _, name = contender.target.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise StudyError(
            f"The contender {contender.name} cannot be imported ({error}). Give package.module:name, as Python imports "
            "it from the script's folder.",
            slug="bad-contenders",
        ) from error
    if not callable(found) or (isinstance(found, type) and not issubclass(found, nn.Module)):
        raise StudyError(
            f"The contender {contender.name} is a {type(found).__name__}. Expected an nn.Module class or a function "
            "that takes a tensor.",
            slug="bad-contenders",
        )
    return found


def plain(contender: Contender) -> Call:
    """The call of a contender without parameters and random numbers."""
    if contender.target:
        return wrapped(own(contender))
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
