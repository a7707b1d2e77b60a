"""The verbs for one layer: the gain of its activation, and a layer of another framework that computes the same."""

from __future__ import annotations

from math import isnan
from typing import Any

from relume import activations
from relume.activations.spec import Spec
from relume.errors import MissingExtra, ParameterError, SpecError, unknown_name
from relume.framework import SPECS, load_specs, package_of_layer


def gain(activation: str, **parameters: Any) -> float:
    """Compute the gain of an activation: the factor on the weights that keeps the scale of the pre-activations.

    1/√E[f(z)²] for z ~ N(0, 1): He et al. 2015 with the slope below 0; PReLU at the start value of its slopes, RReLU
    with E[s²] of its random slopes, ELU, CELU and the smooth ones by quadrature. With it the weights have the standard
    deviation gain/√fan_in. Every initializer takes it that has a gain or a scale (its square).

    Args:
        activation: its name, as in ``relume list``.
        **parameters: the activation's own, such as ``negative_slope``.

    Raises:
        UnknownName: no such activation.
        ParameterError: no such parameter, one outside its bounds, or an activation without a gain (softmax).

    Example:
        >>> round(gain("rrelu"), 4), round(gain("leaky_relu", negative_slope=0.2), 4)
        (1.3761, 1.3868)
        >>> torch.nn.init.xavier_normal_(w, gain=relume.gain("prelu"))                   # doctest: +SKIP
        >>> keras.initializers.VarianceScaling(scale=relume.gain("prelu") ** 2)          # doctest: +SKIP
    """
    definition = activations.get(activation)
    found = definition.gain(**definition.check(**parameters))
    if isnan(found):
        raise ParameterError(
            f"{definition.title} has no gain: {definition.gain_note or 'the scale of its output is fixed.'}",
            slug="no-gain",
        )
    return found


def to_spec(layer: Any) -> Spec:
    """Describe an activation layer without its framework.

    Args:
        layer: an activation layer of ``torch.nn``, ``keras.layers``, ``flax.nnx``, ``flax.linen``, ``equinox.nn`` or
            relume; a function of ``jax.nn`` or ``keras.activations``, or a ``functools.partial`` of one of ``jax.nn``;
            an ONNX model of one activation. A PReLU of Keras must have been built.

    Returns: what it computes, with NumPy parameters; ``spec.channels_last()`` and ``spec.channels_first()`` turn it to
        the other layout.

    Raises: SpecError: not an activation layer, or one that no other framework has.

    Example:
        >>> relume.from_spec(relume.to_spec(torch.nn.PReLU(8)).channels_last(), "keras", ndim=4)     # doctest: +SKIP
    """
    package = package_of_layer(layer)
    found = load_specs(package).to_spec(layer) if package is not None else None
    if found is None:
        raise SpecError(
            f"{layer!r} is not an activation layer that relume knows. Expected one of torch.nn, keras.layers, "
            "flax.nnx, equinox.nn or relume.",
            slug="not-a-layer",
        )
    return found  # type: ignore[no-any-return]  # loaded by name


def from_spec(spec: Spec, framework: str, *, ndim: int | None = None) -> Any:
    """Make the layer of another framework that computes the same.

    Args:
        spec: from :func:`to_spec`.
        framework: "torch" and "keras" give relume's layers; "flax" and "equinox" its modules; "jax" a function of x
            that is a pytree, its slopes the leaf; "onnx" a model. A random RReLU becomes, in ONNX, a
            LeakyRelu at its mean.
        ndim: the number of axes of the input, if the layer needs it and the spec does not know it: for PReLU in
            Keras and ONNX.

    Raises:
        UnknownName: no such framework.
        MissingExtra: the framework is not installed.
        SpecError: the framework has no equal, or ``ndim`` is needed.
    """
    if framework not in SPECS:
        raise unknown_name("framework", framework, SPECS)
    try:
        return load_specs(framework).from_spec(spec.with_rank(ndim), framework)
    except ModuleNotFoundError as absent:
        if absent.name not in (framework, *SPECS, "onnxruntime"):
            raise
        extra = f"'relume[{framework}]'" if framework not in ("flax", "equinox") else framework
        raise MissingExtra(
            f"Layers of {framework} need a package that is not installed ({absent}): pip install {extra}",
            slug="missing-extra",
        ) from absent
