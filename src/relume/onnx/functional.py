"""Activations as ONNX nodes, of operator set 20.

ONNX Runtime computes Elu, Celu and Selu as exp(x) − 1, which is 0 for x = −1e-8 in float32. Here they are composed as
tanh(x / 2) · (exp(x) + 1) from −1 on, which keeps the digits: within 5 ulp. float16 and bfloat16 are computed in
float32. RReLU is LeakyRelu at its mean: a model has no training.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import onnx
from onnx import TensorProto, helper

from relume.activations.selu import SCALE, SCALED_ALPHA
from relume.activations.spec import Spec
from relume.errors import DtypeError, SpecError
from relume.onnx._nodes import Nodes
from relume.onnx.family import FAMILY

OPSET = 20
IR_VERSION = 9
"""Of operator set 20."""

MADE = "relume.activation"
"""Key of a model's metadata: the activation and its parameters, which several nodes do not show."""

_TYPES = {"float16": TensorProto.FLOAT16, "bfloat16": TensorProto.BFLOAT16}
_TYPES |= {"float32": TensorProto.FLOAT, "float64": TensorProto.DOUBLE}
_BENT = ("elu", "celu", "selu")


def model(spec: Spec, *, ndim: int | None = None, dtype: str = "float32") -> Any:
    """A model of one activation, from ``x`` to ``y``, all sizes free.

    Args:
        spec: from ``relume.to_spec``.
        ndim: the number of axes of ``x``, where the spec does not know it. PReLU and softmax need it.
        dtype: of ``x`` and ``y``: "float16", "bfloat16", "float32" or "float64". ONNX Runtime has no kernels for
            bfloat16 on CPU, so copied values are computed in float32 too.

    Raises:
        SpecError: ``ndim`` is needed.
        DtypeError: another dtype.
    """
    if dtype not in _TYPES:
        raise DtypeError(f"dtype is {dtype!r}; expected one of {', '.join(_TYPES)}.", slug="dtype")
    spec = spec.with_rank(ndim)
    shape = None if spec.ndim is None else [f"d{axis}" for axis in range(spec.ndim)]
    made, constants = nodes(spec, "x", "y", dtype=dtype)
    ends = [helper.make_tensor_value_info(name, _TYPES[dtype], shape) for name in ("x", "y")]
    graph = helper.make_graph(made, spec.activation, ends[:1], ends[1:], constants)
    opset = helper.make_opsetid("", OPSET)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION, producer_name="relume")
    if spec.activation != "prelu" and (len(made) > 1 or not FAMILY[spec.activation].op):
        parameters = {k: p if isinstance(p, str) else float(p) for k, p in spec.parameters.items()}
        helper.set_model_props(model, {MADE: json.dumps([spec.activation, parameters])})
    return model


def nodes(spec: Spec, x: str, y: str, *, dtype: str = "float32") -> tuple[list[Any], list[Any]]:
    """Nodes from the tensor named ``x`` to the one named ``y``, and the constants that they need.

    Names in between begin with ``y``. PReLU's slopes get the shape that ONNX broadcasts from the right: (C, 1, 1) for
    the channels of images.
    """
    wide = "float32" if dtype == "bfloat16" or (dtype == "float16" and spec.activation in _BENT) else dtype
    build = Nodes(y, wide)
    source = x if wide == dtype else build.add("Cast", x, to=_TYPES[wide])
    result = FAMILY[spec.activation].build(build, spec, source)
    if wide != dtype:
        build.add("Cast", result, to=_TYPES[dtype])
    build.made[-1].output[0] = y
    return build.made, build.constants


def keep_digits(exported: Any) -> Any:
    """A model with every Elu, Celu and Selu of its graph composed so that it keeps its digits.

    For models that PyTorch, Keras or others have exported; a network of many ELUs becomes slower by what eleven
    elementwise operations cost, unless the runtime fuses them.

    Args:
        exported: ``onnx.ModelProto``; it is left as it is. Subgraphs and functions are not looked into.

    Returns: a new ``onnx.ModelProto``.

    Raises: SpecError: the model does not give the dtype of such a node.
    """
    inferred = onnx.shape_inference.infer_shapes(exported)
    types = _element_types(inferred.graph)
    rebuilt: list[Any] = []
    constants: list[Any] = []
    for node in exported.graph.node:
        if node.op_type not in ("Elu", "Celu", "Selu") or node.domain not in ("", "ai.onnx"):
            rebuilt.append(node)
            continue
        dtype = types.get(node.input[0])
        if dtype is None:
            raise SpecError(
                f"The dtype of {node.input[0]!r}, the input of {node.op_type} {node.name!r}, cannot be inferred. "
                "Export the model with value types.",
                slug="onnx-type",
            )
        made, needed = _composed(node, dtype)
        rebuilt += made
        constants += needed
    result = onnx.ModelProto()
    result.CopyFrom(exported)
    del result.graph.node[:]
    result.graph.node.extend(rebuilt)
    result.graph.initializer.extend(constants)
    return result


def _element_types(graph: Any) -> dict[str, str]:
    """Tensor name → dtype, as far as the graph gives it."""
    names = {number: name for name, number in _TYPES.items()}
    told: Sequence[Any] = (*graph.input, *graph.output, *graph.value_info)
    found = {v.name: names.get(v.type.tensor_type.elem_type) for v in told}
    return {name: dtype for name, dtype in found.items() if dtype is not None}


def _composed(node: Any, dtype: str) -> tuple[list[Any], list[Any]]:
    given = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    x, y = node.input[0], node.output[0]
    if node.op_type == "Selu" and (given.keys() & {"alpha", "gamma"}):
        scale = float(given.get("gamma", SCALE))
        build = Nodes(y, dtype)
        build.bent(x, scale * float(given.get("alpha", SCALED_ALPHA / SCALE)), scale, 1.0)
        build.made[-1].output[0] = y
        return build.made, build.constants
    name = node.op_type.lower()
    return nodes(Spec(name, {} if name == "selu" else {"alpha": float(given.get("alpha", 1.0))}), x, y, dtype=dtype)
