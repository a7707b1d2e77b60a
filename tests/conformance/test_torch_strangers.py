"""PyTorch's own inputs, references and error cases for these operations and modules, run against relume.torch.

They are in ``torch.testing._internal``; the loops around them, which the wheel leaves out, are stated anew here.
"""

from __future__ import annotations

import copy
import pickle
import re
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import relume.torch as rt
import relume.torch.functional as rf

with warnings.catch_warnings():  # PyTorch's test code and forward mode warn of their own use of torch.jit
    warnings.simplefilter("ignore")
    import torch._decomp.decompositions_for_jvp
    from torch.testing._internal.common_methods_invocations import op_db
    from torch.testing._internal.common_modules import module_db

OPERATIONS = {
    op.name.rpartition(".")[2]: op
    for op in op_db
    if op.name.startswith("nn.functional.")
    and op.name.rpartition(".")[2] in rf.__all__
    and getattr(rf, op.name.rpartition(".")[2]) is not op.op
}
MODULES = {
    info.module_cls.__name__: info
    for info in module_db
    if getattr(rt, info.module_cls.__name__, None) not in (None, info.module_cls) or info.module_cls is nn.Hardtanh
}
MODULES.pop("Hardtanh")
DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
HALVES = (torch.float16, torch.bfloat16)


def samples(op: Any, dtype: torch.dtype, requires_grad: bool = False) -> list[Any]:
    torch.manual_seed(0)
    return list(op.sample_inputs("cpu", dtype, requires_grad=requires_grad))


def is_random(sample: Any) -> bool:
    return bool(sample.kwargs.get("training"))


def test_pytorchs_inputs_are_there_for_all_of_the_family():
    assert set(OPERATIONS) == {"relu", "leaky_relu", "elu", "prelu", "celu", "rrelu", "selu", "relu6"}
    assert set(MODULES) == {"CELU", "ELU", "ReLU", "LeakyReLU", "ReLU6", "PReLU", "SELU"}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", OPERATIONS)
def test_sample_inputs_give_the_same_as_pytorch(name, dtype):
    op, ours = OPERATIONS[name], getattr(rf, name)
    for sample in samples(op, dtype, requires_grad=True):
        if is_random(sample):
            result = ours(sample.input, *sample.args, **sample.kwargs)
            slope = result.detach() / sample.input.detach()
            assert torch.all((sample.input > 0) | (slope >= 0) & (slope <= 1) | (sample.input == 0))
            assert (result.shape, result.dtype) == (sample.input.shape, dtype)
            continue
        results = []
        for function in (op.op, ours):
            result = function(sample.input, *sample.args, **sample.kwargs)
            leaves = [
                t
                for t in (sample.input, *sample.args, *sample.kwargs.values())
                if isinstance(t, torch.Tensor) and t.requires_grad
            ]
            results.append((result, *torch.autograd.grad(result, leaves, torch.ones_like(result))))
        for native, own in zip(*results, strict=True):
            torch.testing.assert_close(own, native, rtol=torch.finfo(dtype).eps * 4, atol=0, equal_nan=True)
            assert own.stride() == native.stride()


@pytest.mark.parametrize("name", [name for name, op in OPERATIONS.items() if op.ref is not None])
def test_reference_inputs_give_pytorchs_reference(name):
    op, ours = OPERATIONS[name], getattr(rf, name)
    count = 0
    for sample in op.reference_inputs("cpu", torch.float64, requires_grad=False):
        given = [a.numpy() if isinstance(a, torch.Tensor) else a for a in sample.args]
        keywords = {k: a.numpy() if isinstance(a, torch.Tensor) else a for k, a in sample.kwargs.items()}
        with np.errstate(all="ignore"):
            expected = torch.as_tensor(np.asarray(op.ref(sample.input.numpy(), *given, **keywords)))
        result = ours(sample.input, *sample.args, **sample.kwargs)
        torch.testing.assert_close(result, expected.to(result.dtype), rtol=1e-7, atol=1e-7, equal_nan=True)
        count += 1
    assert count > 7


@pytest.mark.parametrize("name", [name for name, op in OPERATIONS.items() if op.error_inputs_func is not None])
def test_error_inputs_raise_pytorchs_class_with_pytorchs_words(name):
    op, ours = OPERATIONS[name], getattr(rf, name)
    for wrong in op.error_inputs("cpu"):
        sample = wrong.sample_input
        with pytest.raises(wrong.error_type, match=wrong.error_regex):
            ours(sample.input, *sample.args, **sample.kwargs)


@pytest.mark.parametrize("name", OPERATIONS)
def test_sample_inputs_pass_gradcheck_and_gradgradcheck(name):
    """Reverse, forward, batched; the samples are random, so that no kink is met."""
    op, ours = OPERATIONS[name], getattr(rf, name)
    for sample in samples(op, torch.float64, requires_grad=True):
        tensors = [t for t in (sample.input, *sample.args, *sample.kwargs.values()) if isinstance(t, torch.Tensor)]
        if not all(t.numel() for t in tensors):
            continue

        def call(*given: torch.Tensor, sample: Any = sample) -> torch.Tensor:
            rest = iter(given)
            args = [next(rest) if isinstance(a, torch.Tensor) else a for a in (sample.input, *sample.args)]
            keywords = {k: next(rest) if isinstance(a, torch.Tensor) else a for k, a in sample.kwargs.items()}
            if is_random(sample):
                keywords["generator"] = torch.Generator().manual_seed(7)
            return ours(*args, **keywords)

        batched = not is_random(sample)
        torch.autograd.gradcheck(call, tensors, check_forward_ad=True, check_batched_grad=batched, fast_mode=True)
        torch.autograd.gradgradcheck(call, tensors, check_fwd_over_rev=True, fast_mode=True)


@pytest.mark.parametrize("name", [name for name in OPERATIONS if hasattr(rf, name + "_")])
def test_in_place_sample_inputs_equal_out_of_place_ones_and_pass_gradcheck(name):
    in_place, ours = getattr(rf, name + "_"), getattr(rf, name)
    for sample in samples(OPERATIONS[name], torch.float64, requires_grad=True):
        if not sample.input.numel():
            continue

        def keywords(sample: Any = sample) -> dict[str, Any]:
            given = {k: v for k, v in sample.kwargs.items() if k != "inplace"}
            return given | ({"generator": torch.Generator().manual_seed(7)} if is_random(sample) else {})

        copied = sample.input.detach().clone()
        assert in_place(copied, *sample.args, **keywords()) is copied
        assert torch.equal(copied, ours(sample.input, *sample.args, **keywords()))

        def call(x: torch.Tensor, sample: Any = sample, keywords: Any = keywords) -> torch.Tensor:
            return in_place(x * 1, *sample.args, **keywords())

        torch.autograd.gradcheck(call, [sample.input], check_forward_ad=True, fast_mode=True)
        torch.autograd.gradgradcheck(call, [sample.input], fast_mode=True)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", MODULES)
def test_module_inputs_give_pytorchs_reference(name, training):
    """Ours in place of PyTorch's: result, reference, gradcheck, pickle, copy, state_dict both ways, repr."""
    info, ours = MODULES[name], getattr(rt, name)
    for given in info.module_inputs_func(
        info, device="cpu", dtype=torch.float64, requires_grad=True, training=training
    ):
        made = given.constructor_input
        module = ours(*made.args, **made.kwargs).double().train(training)
        native = info.module_cls(*made.args, **made.kwargs).double().train(training)
        assert repr(module) == repr(native)
        assert list(module.state_dict()) == list(native.state_dict())
        module.load_state_dict(native.state_dict())
        native.load_state_dict(module.state_dict())
        x = given.forward_input.args[0]
        for same in (module, copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
            room = 1e-15 if name == "SELU" else 0  # PyTorch's product of its two constants is an ulp off in float64
            torch.testing.assert_close(same(x), native(x), rtol=room, atol=0)
        if given.reference_fn is not None:
            expected = given.reference_fn(module, x)
            torch.testing.assert_close(module(x), expected)
        if x.numel():
            torch.autograd.gradcheck(module, [x], fast_mode=True)


@pytest.mark.parametrize("name", MODULES)
def test_modules_accept_device_and_dtype_as_pytorchs_do_and_keep_memory_formats(name):
    module = getattr(rt, name)(**({"device": "cpu", "dtype": torch.float64} if name == "PReLU" else {}))
    assert all(p.dtype is torch.float64 for p in module.parameters())
    x = torch.randn(2, 3, 4, 5, dtype=torch.float64).to(memory_format=torch.channels_last)
    assert module(x).is_contiguous(memory_format=torch.channels_last)


# ---- PyTorch's test_nn, stated anew ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "in_place",
    [lambda x: rf.leaky_relu_(x, -2.0), lambda x: rf.rrelu_(x, -3.0, -1.0), lambda x: rf.leaky_relu(x, -1, True)],
)
def test_a_negative_slope_in_place_raises_in_backward(in_place):
    x = torch.randn(2, 6, requires_grad=True)
    out = in_place(x * 1)
    with pytest.raises(RuntimeError, match="call out-of-place version"):
        out.backward(torch.ones_like(out))


def test_slope_zero_in_place_is_allowed_and_gives_gradient_zero_below():
    x = torch.tensor([-2.0, 0.0, 2.0], requires_grad=True)
    rf.leaky_relu_(x * 1, 0.0).sum().backward()
    assert x.grad.tolist() == [0, 0, 1]
    x.grad = None
    rf.elu_(x * 1, 0.0).sum().backward()
    assert x.grad.tolist() == [0, 0, 1]


@pytest.mark.parametrize("name", ["relu", "leaky_relu", "rrelu", "relu6", "elu", "celu", "selu"])
def test_in_place_on_overlapping_memory_or_on_a_leaf_is_refused(name):
    function = getattr(rf, name)
    with pytest.raises(RuntimeError, match="unsupported operation"):
        function(torch.randn(1, 6).expand(6, 6), inplace=True)
    with pytest.raises(RuntimeError, match="a leaf Variable that requires grad is being used in an in-place"):
        function(torch.randn(3, requires_grad=True), inplace=True)


@pytest.mark.parametrize("name", ["relu", "leaky_relu", "rrelu", "relu6", "elu", "celu", "selu"])
@pytest.mark.parametrize("length", [1, 17])
def test_nan_goes_through(name, length):
    x = torch.full((length,), torch.nan)
    assert getattr(rf, name)(x).isnan().all()
    assert getattr(rf, name)(x.clone(), inplace=True).isnan().all()


@pytest.mark.parametrize(
    ("lower", "upper"), [(float("nan"), 1.0), (0.0, float("inf")), (-float("inf"), 0.0), (0.3, 0.1)]
)
@pytest.mark.parametrize("training", [True, False])
def test_bounds_of_rrelu_are_checked(lower, upper, training):
    with pytest.raises((ValueError, RuntimeError), match=r"lower = .* is (not in|greater)|upper = "):
        rf.rrelu(torch.randn(3), lower, upper, training)
    with pytest.raises(RuntimeError, match=re.escape("RReLU: ")):
        rt.RReLU(lower, upper)


def test_relu_keeps_integers_as_pytorch_does():
    for dtype in (torch.int8, torch.int32, torch.int64, torch.uint8):
        x = torch.tensor([0, 3, 9], dtype=dtype)
        assert rf.relu(x).tolist() == [0, 3, 9]
        assert rf.relu6(x).tolist() == [0, 3, 6]
        assert rf.relu(x).dtype == rf.relu6(x).dtype == dtype
