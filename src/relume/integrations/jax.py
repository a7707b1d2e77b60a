"""For a training loop in JAX: ``step = relume.jax.watch(step)`` watches this step, whoever calls it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from relume.api import BUDGET, Watch, check_options
from relume.errors import WatchError
from relume.framework import FRAMEWORKS

_JAX = next(framework for framework in FRAMEWORKS if framework.package == "jax")


class WatchedStep(Watch):
    """A step that is called as before, with the verbs of :class:`relume.api.Watch`. Made by :func:`watch`."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Take a step, as the function itself would."""
        return self._model(*args, **kwargs)


def watch(
    step: Callable[..., Any],
    *,
    budget: float = BUDGET,
    window: int | None = None,
    every: int | None = None,
    **jit: Any,
) -> WatchedStep:
    """Watch one training step from its next call on; also as ``relume.jax.watch``. Other functions are not changed.

    Args:
        step: a function that takes gradients; it is jitted if it is not.
        budget: as in :func:`relume.watch`.
        window: as there.
        every: as there.
        **jit: the options of ``jax.jit`` for a function that is not jitted; for one that is, ``static_argnums`` and
            ``static_argnames`` as they were given there.

    Returns: the step, with ``findings()``, ``to_dict()``, ``save(path)``, ``stop()``.

    Raises: WatchError: not a function, or an option out of its range.

    Example:
        >>> step = relume.jax.watch(step)             # doctest: +SKIP
        >>> params = step(params, batch)              # doctest: +SKIP
        >>> step.save("run.relume")                   # doctest: +SKIP
    """
    check_options(budget=budget, window=window, every=every, phase="train")
    if not callable(step):
        raise WatchError(
            f"relume.jax.watch() was given a {type(step).__name__}. Give it the function that takes a training step.",
            slug="not-a-step",
        )
    model = _JAX.load_step()(step, jit)
    watched = WatchedStep(model, budget=budget, window=window, every=every, phase="train", framework=_JAX)
    watched.start()
    return watched
