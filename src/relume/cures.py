"""The verbs that alter a model, each with its proof; ``relume.revive`` and its like."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from relume.artifacts.certificate import Certificate
from relume.artifacts.change import Change
from relume.artifacts.findings import Findings
from relume.artifacts.treatments import EVERY, REVIVER_RULES
from relume.errors import CureError, ParameterError, unknown_name
from relume.framework import FRAMEWORKS, Surgery


def revive(model: Any, findings: Any, batch: Any, *, optimizer: Any = None) -> Change:
    """Make dead units learn again without changing what the model computes.

    The weights that read a dead unit become 0. Those that make it are drawn again at the layer's own initialization,
    and its bias is set so that it fires on half of the batch. The optimizer's state of these weights begins anew.

    Args:
        model: a ``torch.nn.Module``, altered in place; its mode and its random streams stay.
        findings: which units are dead: ``relume.watch(model).findings()``, the watch, or the file of a recording.
        batch: what the model is called with: a tensor, a tuple of arguments or a dict of keywords. 64 examples or more.
        optimizer: what trains the model; None if it is trained no more, or with a new optimizer.

    Returns: the units revived, those left alone with the reason, and the proof: the outputs on the batch stay within a
        few ulp, each unit fires, a gradient reaches it.

    Raises: CureError: no unit could be revived or the proof failed. The model is as it was, to the bit.

    Example:
        >>> with relume.watch(model) as w:                                              # doctest: +SKIP
        ...     train(model)
        >>> print(relume.revive(model, w.findings(), x, optimizer=optimizer))           # doctest: +SKIP
    """
    return _surgery(model).revive(model, _findings(findings), batch, optimizer=optimizer)


def certify(model: Any, lower: Any, upper: Any) -> Certificate:
    """Prove which units fire for no input of a box, and which for no input at all.

    Three claims, three words: dead *on the data* is what findings say; dead *on the box* and dead *for every input* are
    proven here, from the weights alone. Bounds are not tight: a unit that is not certified may still be silent.

    Args:
        model: a ``torch.nn.Module`` with one input, judged in evaluation mode; it stays as it is.
        lower: the least value of each input, in the shape of the input with its batch axis, (1, …); may be −inf.
        upper: the greatest; may be inf.

    Returns: for each ReLU and ReLU6 the units silent on the box and for every input, with their bounds.

    Raises: CureError: the box is empty or has another shape, or the model cannot be traced.

    Example:
        >>> relume.certify(model, torch.zeros(1, 784), torch.ones(1, 784))              # doctest: +SKIP

    Source: Zhang et al. 2018, "Efficient Neural Network Robustness Certification with General Activation Functions"
        (CROWN), https://arxiv.org/abs/1811.00866
    """
    return _surgery(model).certify(model, lower, upper)


def prune(model: Any, findings: Any, example_inputs: Any) -> tuple[Any, Change]:
    """Cut dead units out of a copy of a model: a smaller model with the same outputs.

    Linear layers, convolutions and BatchNorm are cut, also behind concatenation, pooling, flatten, sums, products and
    depthwise convolutions. Of a grouped convolution as many units are cut in each group. A layer that is called twice
    is cut if each call has the same dead units. A unit that is constant without being 0 is added to the bias of what
    reads it, if that is exact.

    Args:
        model: a ``torch.nn.Module``; it stays as it is.
        findings: which units are dead, as for :func:`revive`.
        example_inputs: what the model is called with, as ``batch`` of :func:`revive`. The proof is made on them.

    Returns: the smaller model, an ordinary module of the same class with a state_dict of its own; and the change: units
        cut, units left alone with the reason, and the proof: outputs, top-1, parameters, FLOPs and latency.

    Raises: CureError: no unit could be cut, or the outputs differ.

    Example:
        >>> smaller, change = relume.prune(model, w.findings(), x)                      # doctest: +SKIP
    """
    return _surgery(model).prune(model, _findings(findings), example_inputs)


def swap(
    model: Any,
    where: str | Iterable[str],
    to: str,
    *,
    optimizer: Any = None,
    reinit: bool = False,
    batch: Any = None,
    **params: Any,
) -> Change:
    """Put another activation in the place of some of a model's own.

    Names, hooks, mode, device and dtype stay. A functional call gets a submodule ``swapped_LINE_COLUMN`` of the module
    whose method makes it; other instances of the class are not touched.

    Args:
        model: a ``torch.nn.Module``, altered in place.
        where: an activation ("relu"), a module's path ("features.2", or one around several) or FILE:LINE of a
            functional call; or several of them.
        to: the new activation, as in ``relume list``.
        optimizer: what trains the model: learnable slopes join it, without weight decay.
        reinit: multiply the weights before each new activation by the ratio of the two init gains; needs ``batch``. For
            a model that is not trained yet.
        batch: what the model is called with. With it the proof shows that each new activation is applied, and how far
            the outputs move.
        **params: of the new activation's class in ``torch.nn``: ``negative_slope``, ``num_parameters``, ``alpha``.

    Returns: what was swapped, what was not and why, and the proof.

    Raises:
        CureError: nothing is there to swap, or the new activation is not applied on the batch. The model is as it was.
        UnknownName, ParameterError: of the activation.

    Example:
        >>> relume.swap(model, "relu", "leaky_relu", negative_slope=0.1, batch=x)       # doctest: +SKIP
    """
    return _surgery(model).swap(model, where, to, optimizer=optimizer, reinit=reinit, batch=batch, **params)


def apply(model: Any, plan: Any, *, batch: Any = None, optimizer: Any = None) -> Change:
    """Do to a model what a plan says: swap activations, revive units, lower the optimizer's rates.

    Args:
        model: a ``torch.nn.Module``, altered in place.
        plan: of ``relume plan``, or its file, as it was written or edited. Every action in it is done.
        batch: what the model is called with; needed to revive units, and for the proof.
        optimizer: what trains the model; needed to change its rates.

    Returns: what was changed, what was left and why, and the proofs of its parts. An action that cannot be done from
        here (another initialization, centered data) is among what was left.

    Raises:
        PlanError: the plan cannot be read. CureError: it is of another model, or no action could be done. The model is
            as it was.

    Example:
        >>> print(relume.apply(model, "plan.json", batch=x, optimizer=optimizer))         # doctest: +SKIP
    """
    from relume import planned

    return planned.apply(_surgery(model), model, plan, batch=batch, optimizer=optimizer)


class Reviver:
    """Revive units on a schedule inside a training, each by its own history.

    Args:
        model: a ``torch.nn.Module``.
        optimizer: what trains it; None takes the first that steps one of its parameters.
        rule: "gaps": a unit whose silence is longer than its own gaps between firings explain (Self-Normalized Resets),
            which leaves the outputs as they are. "redo": τ-dormant units (ReDo). "continual_backprop": units of least
            utility. The last two replace units that fire, so that the outputs change.
        every: steps between two choices; None is 100 for gaps, 1,000 for redo, 1 for continual_backprop.
        **options: of the rule. gaps: ``false_resets``, the bound on the share of a living unit's gaps that end in a
            reset (0.001). redo: ``tau`` (0.025). continual_backprop: ``rate`` (1e-4), ``maturity`` (100 steps),
            ``decay`` (0.99).

    Raises: CureError: the model or optimizer is not one that can be altered. Once the training has begun nothing is
        raised: what could not be done is in ``repr(reviver)``.

    Example:
        >>> with relume.Reviver(model, optimizer=optimizer) as reviver:         # doctest: +SKIP
        ...     train(model)
        >>> reviver.revived                                                     # doctest: +SKIP
        17
    """

    def __init__(
        self,
        model: Any,
        *,
        optimizer: Any = None,
        rule: Literal["gaps", "redo", "continual_backprop"] = "gaps",
        every: int | None = None,
        **options: float,
    ) -> None:
        if rule not in REVIVER_RULES:
            raise unknown_name("rule", rule, REVIVER_RULES)
        for name in options:
            if name not in REVIVER_RULES[rule]:
                raise unknown_name("option", name, REVIVER_RULES[rule])
        chosen = {**REVIVER_RULES[rule], **options}
        _check(rule, chosen, every)
        self._inner = _surgery(model).reviver(model, optimizer, rule, chosen, every or EVERY[rule])

    def start(self) -> Reviver:
        """Begin with the next training step."""
        self._inner.start()
        return self

    def stop(self) -> None:
        """Leave no hook behind; :meth:`start` goes on with what is known of the units."""
        self._inner.stop()

    def __enter__(self) -> Reviver:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def revived(self) -> int:
        """How many units were revived so far; one that was revived twice counts twice."""
        return int(self._inner.revived)

    @property
    def changes(self) -> list[tuple[int, Change]]:
        """(step, change) of each revival."""
        return list(self._inner.changes)

    def __repr__(self) -> str:
        return repr(self._inner)


def _check(rule: str, options: Mapping[str, float], every: int | None) -> None:
    if every is not None and every < 1:
        raise ParameterError(f"every is {every}; it is a number of steps, at least 1.", slug="bad-option")
    for name, value in options.items():
        fits = value >= 0 if name in ("tau", "maturity") else 0 < value < 1
        if not fits:
            bound = "at least 0" if name in ("tau", "maturity") else "between 0 and 1"
            raise ParameterError(f"{name} of {rule} is {value}; it is {bound}.", slug="bad-option")


def _surgery(model: Any) -> Surgery:
    packages = {kind.__module__.partition(".")[0] for kind in type(model).__mro__}
    framework = next((f for f in FRAMEWORKS if f.package in packages and f.surgery is not None), None)
    if framework is None:
        raise CureError(
            f"{type(model).__name__} is not a torch.nn.Module. Give the model itself.", slug="model-not-curable"
        )
    surgery = framework.load_surgery()
    surgery.refuse_model(model)
    return surgery


def _findings(findings: Any) -> Findings:
    if isinstance(findings, Findings):
        return findings
    if isinstance(findings, (str, Path)):
        from relume.doctor.reading import findings_of

        return findings_of(findings)
    if hasattr(findings, "findings"):
        return _findings(findings.findings())
    raise CureError(
        f"findings is a {type(findings).__name__}. Give relume.watch(model).findings(), or the file of a recording.",
        slug="findings-of-another-model",
    )
