"""Models of the family in ONNX Runtime: the standard's own cases, what PyTorch and Keras export, and lost digits."""

from __future__ import annotations

import doctest
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from torch import nn

import relume
import relume.numpy
import relume.onnx
import relume.torch
from relume.activations import ACTIVATIONS
from relume.activations.spec import Spec
from relume.errors import DtypeError, SpecError

FAMILY_OPS = ("Relu", "LeakyRelu", "PRelu", "Elu", "Celu", "Selu")


def run(model, *inputs):
    onnx.checker.check_model(model, full_check=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {given.name: x for given, x in zip(session.get_inputs(), inputs, strict=True)})[0]


# ---- the standard's own cases --------------------------------------------------------------------------------------


def node_cases():
    """The cases of ``onnx.backend.test.case.node`` for the family, in their first and unexpanded form."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from onnx.backend.test.case.node import collect_testcases

        return [
            pytest.param(case, id=case.name)
            for case in collect_testcases()
            if len(case.model.graph.node) == 1 and case.model.graph.node[0].op_type in FAMILY_OPS
        ]


def spec_of(case, inputs):
    """A case's node as a spec; PRelu has its slopes as a second input, one for each element of an example."""
    [node] = case.model.graph.node
    given = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    if node.op_type == "PRelu":
        axes = tuple(range(inputs[0].ndim - inputs[1].ndim, inputs[0].ndim))
        return Spec("prelu", {"weight": inputs[1]}, axes, inputs[0].ndim)
    names = {"LeakyRelu": "leaky_relu", "Relu": "relu", "Elu": "elu", "Celu": "celu", "Selu": "selu"}
    own = {"LeakyRelu": {"negative_slope": given.get("alpha", 0.01)}, "Relu": {}, "Selu": {}}
    return Spec(names[node.op_type], own.get(node.op_type, {"alpha": given.get("alpha", 1.0)}))


CASES = node_cases()


def test_there_are_cases_of_each_operator():
    met = {case.values[0].model.graph.node[0].op_type for case in CASES}
    assert met == set(FAMILY_OPS)
    assert len(CASES) >= 10


@pytest.mark.parametrize("case", CASES)
def test_onnx_own_case_agrees_with_relume_numpy_and_relume_onnx(case):
    for inputs, [expected] in case.data_sets:
        spec = spec_of(case, inputs)
        selu = case.model.graph.node[0] if spec.activation == "selu" else None
        if selu is not None and selu.attribute:
            model = relume.onnx.keep_digits(case.model)  # other constants than SELU's
            assert "Selu" not in [node.op_type for node in model.graph.node]
            np.testing.assert_allclose(run(model, inputs[0]), expected, rtol=2e-6)
            continue
        keywords = {"axis": spec.axes} if spec.activation == "prelu" else {}
        x, dtype = inputs[0], inputs[0].dtype.name
        rtol = {"bfloat16": 1e-2, "float16": 2e-3}.get(dtype, 2e-6)
        ours = getattr(relume.numpy, spec.activation)(x, **spec.parameters, **keywords)
        np.testing.assert_allclose(ours.astype(float), expected.astype(float), rtol=rtol, atol=1e-7)
        model = relume.onnx.model(spec, ndim=x.ndim, dtype=dtype)
        bfloat16 = dtype == "bfloat16"  # no way into ONNX Runtime from NumPy
        got = ReferenceEvaluator(model).run(None, {"x": x})[0] if bfloat16 else run(model, x)
        assert got.dtype == x.dtype
        np.testing.assert_allclose(got.astype(float), expected.astype(float), rtol=rtol)


# ---- models --------------------------------------------------------------------------------------------------------


def test_prelu_slopes_run_along_the_channels_even_if_all_sizes_are_the_same():
    x = -np.ones((4, 4, 4, 4), np.float32)
    weight = np.array([0.1, 0.2, 0.3, 0.4], np.float32)
    model = relume.onnx.model(Spec("prelu", {"weight": weight}, axes=(1,)), ndim=4)
    assert [list(constant.dims) for constant in model.graph.initializer] == [[4, 1, 1]]
    np.testing.assert_array_equal(run(model, x)[0, :, 0, 3], -weight)
    with pytest.raises(SpecError, match="rank-needed"):
        relume.onnx.model(Spec("prelu", {"weight": weight}, axes=(1,)))


def test_examples_in_the_docstrings_work():
    result = doctest.testmod(relume.onnx)
    assert (result.attempted > 0, result.failed) == (True, 0)


def test_rrelu_is_leaky_relu_at_its_mean():
    [node] = relume.onnx.model(Spec("rrelu", {"lower": 0.25, "upper": 0.75})).graph.node
    assert (node.op_type, node.attribute[0].f) == ("LeakyRelu", 0.5)


@pytest.mark.parametrize("name", ["elu", "celu", "selu"])
def test_digits_below_zero_are_kept_although_onnx_runtimes_operator_loses_them(name):
    x = np.float32([-1e-8, -1e-6, -1e-4])
    expected = getattr(relume.numpy, name)(x)
    np.testing.assert_allclose(run(relume.onnx.model(Spec(name), ndim=1), x), expected, rtol=5e-7)
    ends = [helper.make_tensor_value_info(end, onnx.TensorProto.FLOAT, [3]) for end in "xy"]
    graph = helper.make_graph([helper.make_node(name.title(), ["x"], ["y"])], "g", ends[:1], ends[1:])
    native = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    assert run(native, x)[0] == 0
    np.testing.assert_allclose(run(relume.onnx.keep_digits(native), x), expected, rtol=5e-7)


def test_bfloat16_models_are_valid_and_other_dtypes_refused():
    model = relume.onnx.model(Spec("elu"), ndim=2, dtype="bfloat16")
    onnx.checker.check_model(model, full_check=True)
    assert [node.op_type for node in model.graph.node][:1] == ["Cast"]
    with pytest.raises(DtypeError, match="'int32'"):
        relume.onnx.model(Spec("elu"), ndim=2, dtype="int32")


@pytest.mark.parametrize("name", [name for name in ACTIVATIONS if name != "prelu"])
def test_a_model_of_an_activation_is_described_as_the_activation(name):
    numbers = {p.name: p.choices[-1] if p.choices else 0.25 for p in ACTIVATIONS[name].parameters}
    spec = Spec(name, numbers, axes=(-1,) if name == "softmax" else ())
    back = relume.to_spec(relume.from_spec(spec, "onnx"))
    assert (back.activation, dict(back.parameters), back.axes) == (name, dict(spec.parameters), spec.axes)


def test_a_models_slopes_are_described_and_larger_models_are_refused():
    weight = np.float32([0.1, 0.2, 0.3])
    back = relume.to_spec(relume.from_spec(Spec("prelu", {"weight": weight}, axes=(1,)), "onnx", ndim=4))
    assert (back.axes, back.ndim, back.parameters["weight"].tolist()) == ((1,), 4, weight.tolist())
    unmarked = relume.from_spec(Spec("elu"), "onnx")
    del unmarked.metadata_props[:]
    with pytest.raises(SpecError, match="not-a-layer"):
        relume.to_spec(unmarked)


# ---- exporters -----------------------------------------------------------------------------------------------------


class Net(nn.Module):
    """Every module of relume's, one after the other, between convolutions."""

    def __init__(self):
        super().__init__()
        ours = relume.torch
        acts = [ours.ReLU(), ours.LeakyReLU(0.2), ours.PReLU(4), ours.PReLU(4, axis=-1), ours.RReLU(), ours.ReLU6()]
        acts += [ours.PReLU((4, 4, 4), axis=(1, 2, 3)), ours.ELU(), ours.CELU(2.0), ours.SELU(), ours.PReLU()]
        self.layers = nn.ModuleList([m for act in acts for m in (nn.Conv2d(4, 4, 1), act)])

    def forward(self, x):
        outputs = []
        for layer in self.layers:
            x = layer(x)
            outputs.append(x.flatten())
        return torch.cat(outputs)


@pytest.fixture(scope="module")
def exported():
    torch.manual_seed(0)
    net = Net().eval()
    with torch.no_grad():
        for layer in net.layers:
            if isinstance(layer, nn.PReLU):
                layer.weight.uniform_(0.1, 0.9)
    x = torch.randn(2, 4, 4, 4) * 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = torch.onnx.export(net, (x,), dynamo=True, verbose=False).model_proto
    return net, x, model


def test_pytorch_modules_export_through_the_dynamo_exporter_and_agree(exported):
    net, x, model = exported
    with torch.no_grad():
        expected = net(x).numpy()
    ops = [node.op_type for node in model.graph.node]
    assert ops.count("LeakyRelu") == 2, "LeakyReLU, and RReLU at its mean"
    assert {"PRelu", "Clip", "Elu"} <= set(ops)
    np.testing.assert_allclose(run(model, x.numpy()), expected, rtol=1e-4, atol=1e-5)
    better = relume.onnx.keep_digits(model)
    assert "Elu" not in [node.op_type for node in better.graph.node]
    np.testing.assert_allclose(run(better, x.numpy()), expected, rtol=1e-4, atol=1e-5)


def test_no_slope_is_laid_along_the_wrong_axis_by_the_exporter(exported):
    _, _, model = exported
    shapes = [list(c.dims) for c in model.graph.initializer if len(c.dims) > 1 and max(c.dims) == 4 and c.dims[0] == 1]
    assert [1, 4, 1, 1] in shapes
    assert [4] not in [s for s in shapes if len(s) == 1]


KERAS = """
import sys, warnings
warnings.simplefilter("ignore")
import keras, numpy as np, onnx
import relume.keras as ours
init = keras.initializers.RandomUniform(0.1, 0.9, seed=1)
layers = [keras.Input((4, 4, 4)), ours.ReLU(), ours.LeakyReLU(), ours.PReLU(init, shared_axes=[1, 2]), ours.RReLU(),
    ours.ReLU6(), ours.PReLU(init), ours.ELU(), ours.CELU(2.0), ours.SELU()]
model = keras.Sequential(layers)
x = np.random.default_rng(0).normal(size=(1, 4, 4, 4)).astype("float32") * 4 - 1
y = keras.ops.convert_to_numpy(model(x))
model.export(sys.argv[1], format="onnx", verbose=False)
np.savez(sys.argv[1] + ".npz", x=x, y=y)
"""


def test_keras_layers_export_on_the_torch_backend_and_agree(tmp_path):
    path = tmp_path / "model.onnx"
    environment = os.environ | {"KERAS_BACKEND": "torch", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run([sys.executable, "-c", KERAS, path], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    model, data = onnx.load(path), np.load(f"{path}.npz")
    assert {"PRelu", "LeakyRelu"} <= {node.op_type for node in model.graph.node}
    np.testing.assert_allclose(run(model, data["x"]), data["y"], rtol=1e-4, atol=1e-5)
    assert Path(path).stat().st_size > 0
    assert all(numpy_helper.to_array(c).dtype != np.float64 for c in model.graph.initializer)
