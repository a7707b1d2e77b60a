"""A contender of the user's own."""

from __future__ import annotations

import importlib
from typing import Any

from relume.artifacts.trial import Contender
from relume.errors import StudyError


def own(contender: Contender, layer: type | tuple[type, ...], expected: str) -> Any:
    """The user's own class, of ``layer``, or function; ``expected`` says so.

    Raises: StudyError: it cannot be imported, or is neither.
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
    if not callable(found) or (isinstance(found, type) and not issubclass(found, layer)):
        raise StudyError(
            f"The contender {contender.name} is a {type(found).__name__}. Expected {expected}.",
            slug="bad-contenders",
        )
    return found
