"""relume.torch under PyTorch's transforms: vmap, functorch, autocast, export, fx, pickle; what it keeps and refuses."""

from __future__ import annotations

import copy
import pickle
import warnings

import checks
import hypothesis.extra.numpy as arrays
import numpy as np
import oracle
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.func import functional_call, grad, jacfwd, jacrev, jvp, vmap
from torch.utils.checkpoint import checkpoint

import relume.torch as rt
import relume.torch.functional as rf
from relume.errors import DtypeError, ParameterError, ShapeError

with warnings.catch_warnings():  # PyTorch's forward mode warns of its own use of torch.jit
    warnings.simplefilter("ignore")
    import torch._decomp.decompositions_for_jvp

FAMILY = ["relu", "leaky_relu", "rrelu", "relu6", "elu", "celu", "selu"]
CLASSES = ["ReLU", "LeakyReLU", "PReLU", "RReLU", "ReLU6", "ELU", "CELU", "SELU"]
X = torch.tensor([[-20.0, -1.0, -0.0, 0.0], [6.0, 7.0, 0.5, -1e-8]], dtype=torch.float64)


@pytest.mark.parametrize("name", FAMILY)
def test_vmap_and_functorch_give_the_same_as_plain_calls(name):
    f = getattr(rf, name)
    x = X.clone().requires_grad_()
    (slopes,) = torch.autograd.grad(f(x).sum(), x)
    assert torch.equal(vmap(f)(X), f(X))
    assert torch.equal(vmap(vmap(grad(f)))(X), slopes)
    assert torch.equal(jvp(f, (X,), (torch.ones_like(X),))[1], slopes)
    assert torch.equal(vmap(lambda row: jvp(f, (row,), (torch.ones_like(row),))[1])(X), slopes)
    row = X[0]
    assert torch.equal(jacrev(f)(row), torch.diag(slopes[0]))
    assert torch.equal(jacfwd(f)(row), torch.diag(slopes[0]))
    assert torch.equal(jacfwd(jacrev(f))(row), jacrev(jacfwd(f))(row))
    assert torch.equal(vmap(lambda row: f(row * 1, inplace=True))(X), f(X))


@pytest.mark.parametrize("name", [*FAMILY, "prelu"])
def test_second_derivative_is_zero_at_straight_parts_and_at_kinks(name):
    x = torch.tensor([-2.0, -0.0, 0.0, 6.0, 7.0], dtype=torch.float64, requires_grad=True)
    given = (torch.full((1,), 0.25, dtype=x.dtype, requires_grad=True),) if name == "prelu" else ()
    (first,) = torch.autograd.grad(getattr(rf, name)(x, *given).sum(), x, create_graph=True)
    second = torch.autograd.grad(first.sum(), x)[0] if first.requires_grad else torch.zeros_like(x)
    curved = name in ("elu", "celu", "selu")
    assert second[0].item() == pytest.approx(first[0].item() if curved else 0)
    assert second[3:].tolist() == [0, 0]
    if not curved:
        assert second[1:3].tolist() == [0, 0]


@pytest.mark.parametrize("shape", [(4,), (3, 4), (4, 4, 4)])
def test_prelu_under_vmap_has_an_axis_for_every_sample(shape):
    x, weight = torch.randn(5, *shape), torch.rand(4)
    expected = torch.stack([rf.prelu(row, weight, axis=-1) for row in x])
    assert torch.equal(vmap(lambda row: rf.prelu(row, weight, axis=-1))(x), expected)
    slopes = torch.rand(5, 4)
    each = torch.stack([rf.prelu(row, w, axis=-1) for row, w in zip(x, slopes, strict=True)])
    assert torch.equal(vmap(lambda row, w: rf.prelu(row, w, axis=-1))(x, slopes), each)


def test_prelu_in_forward_mode_has_the_slope_of_reverse_mode_for_its_weight_too():
    x, weight = X.clone(), torch.tensor([0.25, 0.5, 0.1, 0.7], dtype=torch.float64)
    ones = (torch.zeros_like(x), torch.ones_like(weight))
    _, tangent = jvp(rf.prelu, (x, weight), ones)
    assert torch.equal(tangent, x.clamp(max=0))
    _, tangent = jvp(lambda t: rf.prelu(t, weight), (x,), (torch.ones_like(x),))
    assert torch.equal(tangent, torch.where(x > 0, 1, weight.expand_as(x)))


def test_per_sample_gradients_of_a_network():
    net = nn.Sequential(nn.Linear(3, 4), rt.PReLU(4, axis=-1), rt.ELU(), nn.Linear(4, 1))
    parameters = dict(net.named_parameters())
    x = torch.randn(6, 3)

    def loss(p, row):
        return functional_call(net, p, (row,)).square().sum()

    each = vmap(grad(loss), (None, 0))(parameters, x)
    net(x).square().sum().backward()
    for name, parameter in net.named_parameters():
        torch.testing.assert_close(each[name].sum(0), parameter.grad)


@pytest.mark.parametrize("name", CLASSES)
def test_autocast_leaves_or_lowers_the_dtype_as_pytorch_does(name):
    x = torch.randn(2, 3)
    with torch.autocast("cpu", torch.bfloat16):
        assert getattr(rt, name)()(x).dtype == getattr(nn, name)()(x).dtype
        if name == "PReLU":
            assert rt.PReLU(3, axis=0)(x.T).dtype == torch.bfloat16
            assert rt.PReLU((2, 3), axis=(0, 1))(x.bfloat16()).dtype == torch.bfloat16


def test_export_contains_only_pytorchs_operations_and_gives_the_same():
    net = nn.Sequential(*(getattr(rt, name)() for name in CLASSES)).eval()
    x = torch.randn(3, 4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        program = torch.export.export(net, (x,))
    torch.testing.assert_close(program.module()(x), net(x))
    called = [node.target.name() for node in program.graph.nodes if node.op == "call_function"]
    wanted = ["relu", "leaky_relu", "prelu", "leaky_relu", "relu6|hardtanh", "elu", "elu", "elu"]
    assert len(called) == len(wanted)
    assert all(any(w in name for w in options.split("|")) for name, options in zip(called, wanted, strict=True))


def test_compile_in_place_in_training_and_with_gradients_is_one_graph():
    def forward(x, weight):
        for name in ("elu", "celu", "selu", "relu6", "leaky_relu"):
            x = getattr(rf, name)(x * 1.5, inplace=True)
        x = rf.rrelu(x, 0.25, 0.25, training=True)
        return rf.prelu(x, weight, axis=-1)

    torch._dynamo.reset()
    x, weight = torch.randn(4, 17, requires_grad=True), torch.rand(17, requires_grad=True)
    results = []
    for f in (forward, torch.compile(forward, fullgraph=True, backend="aot_eager")):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            y = f(x, weight)
            results.append((y, *torch.autograd.grad(y, (x, weight), torch.ones_like(y))))
    for eager, compiled in zip(*results, strict=True):
        torch.testing.assert_close(compiled, eager)


def test_fx_traces_a_function_as_one_call():
    traced = torch.fx.symbolic_trace(lambda x: rf.elu(rf.relu6(x), alpha=2.0))
    assert [node.target for node in traced.graph.nodes if node.op == "call_function"] == [rf.relu6, rf.elu]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_bytes_saved_for_backward(dtype):
    """Elements of the input's size: what PyTorch keeps, and less where it keeps noise or more than it needs."""
    most = {"relu": 1, "leaky_relu": 1, "rrelu": 1, "elu": 1, "celu": 1, "selu": 1}
    n = 1000
    for name, elements in most.items():
        kept = []
        x = torch.randn(n, dtype=dtype, requires_grad=True)
        with torch.autograd.graph.saved_tensors_hooks(lambda t, kept=kept: kept.append(t.nbytes) or t, lambda t: t):
            rf.celu(x, ODD) if name == "celu" else getattr(rf, name)(x)
            if name == "rrelu":
                rf.rrelu(x, training=True)
        assert sum(kept) <= elements * n * dtype.itemsize * (2 if name == "rrelu" else 1), name


ODD = 0.3  # x / ODD is rounded, and exp makes |x / ODD| ulp of it


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("transform", ["reverse", "jvp", "vmap of grad", "compiled", "in place"])
def test_celu_with_an_alpha_that_divides_inexactly_is_as_far_off_as_the_rounded_quotient(transform, dtype):
    x = -np.logspace(-12, 2, 20001).astype(dtype)
    one = torch.from_numpy(x)

    def f(t):
        return rf.celu(t, ODD)

    if transform == "jvp":
        y, slopes = jvp(f, (one,), (torch.ones_like(one),))
    elif transform == "vmap of grad":
        y, slopes = vmap(f)(one), vmap(grad(f))(one)
    else:
        torch._dynamo.reset()
        call = torch.compile(f, fullgraph=True, backend="aot_eager") if transform == "compiled" else f
        one.requires_grad_()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            y = rf.celu(one * 1, ODD, inplace=True) if transform == "in place" else call(one)
            (slopes,) = torch.autograd.grad(y.sum(), one)
    adapter = "torch-inplace" if transform == "in place" else "torch"
    for part, got in (("value", y), ("gradient", slopes)):
        expected = oracle.exact(checks.PARTS[part], "celu", x, {"alpha": ODD})
        off = oracle.ulps(got.detach().numpy(), expected, dtype)
        room = checks.room(adapter, "celu", part, dtype, x, expected, {"alpha": ODD})
        assert (off <= room).all(), part


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_celu_with_such_an_alpha_is_right_in_the_second_derivative_and_at_its_edges(dtype):
    x = torch.tensor([-np.inf, -20.0, -2.0, -1e-8, -0.0, 0.0, 2.0, np.inf, np.nan], dtype=dtype, requires_grad=True)
    y = rf.celu(x, ODD)
    (first,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), x)
    assert torch.equal(torch.signbit(y), torch.signbit(x))
    assert y.isnan().tolist() == x.isnan().tolist()
    torch.testing.assert_close(first[[0, 4, 5, 6, 7]].tolist(), [0.0, 1.0, 1.0, 1.0, 1.0])
    curved = torch.exp(x.detach().double() / ODD) / ODD
    torch.testing.assert_close(second[:4].double(), curved[:4], rtol=1e-5, atol=0)
    assert second[6:8].tolist() == [0, 0]


@pytest.mark.parametrize("name", FAMILY)
def test_ours_accepts_every_kind_of_tensor_that_pytorchs_operation_accepts(name):
    """Jagged tensors, meta tensors, quantized ones, sparse ones: the same result, or the same class of error."""
    ours, native = getattr(rf, name), getattr(nn.functional, name)

    def jagged(f):
        rows = [torch.tensor([[-1.0, 2.0]]), torch.tensor([[0.5, -3.0], [7.0, -0.5]])]
        x = torch.nested.nested_tensor(rows, layout=torch.jagged, requires_grad=True)
        y = f(x)
        return torch.autograd.grad(y.values().sum(), x)[0].values()

    def meta(f):
        x = torch.ones(3, device="meta", requires_grad=True)
        return torch.zeros(torch.autograd.grad(f(x).sum(), x)[0].shape)

    def quantized(f):
        return f(torch.quantize_per_tensor(torch.tensor([-1.0, 3.0]), 0.1, 0, torch.qint8)).dequantize()

    def sparse(f):
        return f(torch.eye(2).to_sparse()).to_dense()

    for use in (jagged, meta, quantized, sparse):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                expected = use(native)
            except (NotImplementedError, RuntimeError):
                continue
            torch.testing.assert_close(use(ours), expected)


@pytest.mark.parametrize("name", [name for name in FAMILY if name != "relu"])
def test_in_place_on_a_view_reaches_its_base(name):
    x = torch.tensor([[-1.0, 2.0], [-0.5, 7.0]], requires_grad=True)
    base = x * 1
    getattr(rf, name)(base[1], inplace=True)
    (slopes,) = torch.autograd.grad(base.sum(), x)
    assert torch.equal(base[1], getattr(rf, name)(x[1]))
    assert slopes[0].tolist() == [1, 1]
    assert torch.allclose(slopes[1], torch.autograd.grad(getattr(rf, name)(x[1]).sum(), x)[0][1])


# ---- RReLU ----------------------------------------------------------------------------------------------------------


def test_rrelu_keeps_channels_last_and_half_precision_in_training():
    for dtype in (torch.float16, torch.bfloat16):
        x = torch.randn(2, 3, 4, 5, dtype=dtype).to(memory_format=torch.channels_last)
        for layer in (rt.RReLU(), rt.RReLU(inplace=True), rt.RReLU().eval()):
            out = layer(x.clone())
            assert out.dtype == dtype
            assert out.is_contiguous(memory_format=torch.channels_last)


def test_rrelu_draws_the_same_number_of_slopes_for_any_data_and_none_in_evaluation():
    states = []
    for x in (torch.ones(50), -torch.ones(50), torch.zeros(50)):
        generator = torch.Generator().manual_seed(3)
        rf.rrelu(x, training=True, generator=generator)
        states.append(generator.get_state())
    assert torch.equal(states[0], states[1])
    assert torch.equal(states[0], states[2])
    before = torch.get_rng_state()
    rt.RReLU().eval()(-torch.ones(3))
    assert torch.equal(torch.get_rng_state(), before)


def test_rrelu_under_vmap_draws_for_each_sample_or_one_for_all():
    x = -torch.ones(64, 3)
    different = vmap(lambda row: rf.rrelu(row, training=True), randomness="different")(x)
    same = vmap(lambda row: rf.rrelu(row, training=True), randomness="same")(x)
    assert different.unique().numel() == 64 * 3
    assert same.unique().numel() == 3
    with pytest.raises(RuntimeError, match="randomness"):
        vmap(lambda row: rf.rrelu(row, training=True))(x)


def test_rrelu_in_training_has_the_drawn_slope_at_zero_and_at_nan_too():
    x = torch.tensor([0.0, -0.0, torch.nan, -1.0, 1.0], requires_grad=True)
    for inplace in (False, True):
        y = rf.rrelu(x * 1, 0.25, 0.5, training=True, inplace=inplace)
        (slopes,) = torch.autograd.grad(y.sum(), x)
        assert ((slopes[:4] >= 0.25) & (slopes[:4] <= 0.5)).all()
        assert slopes[:4].unique().numel() == 4
        assert slopes[4] == 1
        assert torch.signbit(y).tolist()[:2] == [False, True]
        assert y[2].isnan()


@pytest.mark.parametrize("name", [name for name in CLASSES if name != "PReLU"])
def test_the_in_place_flag_of_a_module_is_respected(name):
    module = getattr(rt, name)(inplace=True)
    assert "inplace=True" in repr(module)
    for x in (torch.randn(3), torch.randn(3, requires_grad=True) * 1):
        before = x.detach().clone()
        assert module(x) is x
        assert getattr(rt, name)()(before) is not before


def test_rrelu_with_a_generator_repeats_itself_after_pickle_and_copy():
    layer = rt.RReLU(generator=torch.Generator().manual_seed(5))
    x = -torch.ones(20)
    twins = copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))
    first = layer(x)
    assert all(torch.equal(twin(x), first) for twin in twins)
    assert not torch.equal(layer(x), first)


def test_rrelu_draws_again_in_every_call_and_the_calls_are_independent():
    generator, n = torch.Generator().manual_seed(11), 40_000
    calls = torch.stack([rf.rrelu(-torch.ones(n), training=True, generator=generator) for _ in range(4)])
    correlated = torch.corrcoef(calls.double()) - torch.eye(4)
    assert correlated.abs().max() < 5 / n**0.5
    ordered = (-calls[0].double() - 1 / 8).sort().values * (24 / 5)
    distance = (ordered - torch.arange(n) / n).abs().max()
    assert distance < 1.95 / n**0.5  # Kolmogorov and Smirnov's, at one in a thousand


def test_rrelu_compiled_and_recomputed_has_the_gradient_of_its_own_sample():
    x = torch.randn(257, requires_grad=True)
    torch._dynamo.reset()

    def training(x):
        return rf.rrelu(x, 0.1, 0.9, training=True)

    compiled = torch.compile(training, fullgraph=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        for f in (compiled, lambda x: checkpoint(training, x, use_reentrant=False)):
            y = f(x)
            (slopes,) = torch.autograd.grad(y.sum(), x)
            torch.testing.assert_close(slopes, torch.where(x > 0, 1, y / x))
            drawn = slopes[x < 0]
            assert 0.1 <= drawn.min() < drawn.max() <= 0.9


# ---- PReLU ----------------------------------------------------------------------------------------------------------


def test_an_old_checkpoint_and_an_old_pickle_are_loaded():
    native = nn.PReLU(5, init=0.1)
    ours = rt.PReLU(5)
    ours.load_state_dict(native.state_dict())
    x = torch.randn(2, 5)
    assert torch.equal(ours(x), native(x))
    state = {k: v for k, v in ours.__dict__.items() if k != "axis"}
    old = rt.PReLU.__new__(rt.PReLU)
    old.__setstate__(state)
    assert torch.equal(old(x), native(x))
    assert repr(rt.PReLU((2, 3), axis=(1, 2))) == "PReLU(num_parameters=(2, 3), axis=(1, 2))"


@settings(max_examples=60, deadline=None)
@given(data=st.data(), shape=arrays.array_shapes(min_dims=1, max_dims=5, max_side=4))
def test_prelu_of_any_shape_and_axes_equals_the_definition(data, shape):
    axes = sorted(data.draw(st.lists(st.integers(0, len(shape) - 1), min_size=1, max_size=3, unique=True)))
    signed = tuple(a - len(shape) if data.draw(st.booleans()) else a for a in axes)
    rng = np.random.default_rng(len(shape))
    x = torch.tensor(rng.normal(size=shape), requires_grad=True)
    weight = torch.tensor(rng.uniform(size=[shape[a] for a in axes]), requires_grad=True)
    axis = signed[0] if len(axes) == 1 and data.draw(st.booleans()) else signed
    spread = weight.reshape([shape[i] if i in axes else 1 for i in range(len(shape))])
    expected = torch.where(x > 0, x, spread * x)
    got = rf.prelu(x, weight, axis)
    assert torch.equal(got, expected)
    ours = torch.autograd.grad(got.sum(), (x, weight))
    for a, b in zip(ours, torch.autograd.grad(expected.sum(), (x, weight)), strict=True):
        torch.testing.assert_close(a, b)


@settings(max_examples=40, deadline=None)
@given(
    x=arrays.arrays(np.float32, arrays.array_shapes(min_dims=0, max_dims=3), elements=st.floats(width=32)),
    slope=st.floats(-4, 4),
    name=st.sampled_from(["leaky_relu", "elu", "celu"]),
)
def test_any_number_and_slope_equals_pytorch_or_the_definition(x, slope, name):
    given = torch.from_numpy(x) if x.ndim else torch.tensor(x)
    parameter = slope if name == "leaky_relu" else max(abs(slope), 1e-3)
    native = getattr(nn.functional, name)(given, parameter)
    torch.testing.assert_close(getattr(rf, name)(given, parameter), native, rtol=3e-7, atol=0, equal_nan=True)


# ---- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.bool, torch.complex64, torch.float8_e4m3fn, torch.int64])
@pytest.mark.parametrize("name", [*FAMILY, "prelu"])
def test_other_dtypes_are_refused_as_relumes_error_and_pytorchs(name, dtype):
    if dtype is torch.int64 and name in ("relu", "relu6"):
        return
    x = torch.zeros(3).to(dtype)
    given = (torch.ones(1),) if name == "prelu" else ()
    for error in (DtypeError, TypeError, NotImplementedError, RuntimeError):
        with pytest.raises(error, match=rf"got {str(dtype)[6:]} of shape \(3,\).*\[dtype\]"):
            getattr(rf, name)(x, *given)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: rt.LeakyReLU(float("nan")), "negative_slope = nan"),
        (lambda: rt.LeakyReLU(None), "negative_slope = None"),
        (lambda: rt.PReLU(init=float("inf")), "weight = inf"),
        (lambda: rt.RReLU(0.5, 0.25), "lower = 0.5 is greater than upper = 0.25"),
        (lambda: rt.CELU(0.0), r"alpha = 0.0 is not in \(0, ∞\).*alpha cannot be 0 for CELU"),
        (lambda: rt.ELU(-1.0), r"alpha = -1.0 is not in \[0, ∞\)"),
        (lambda: rf.elu(X, float("nan")), "alpha = nan"),
        (lambda: rf.celu(X, 0.0), "alpha cannot be 0 for CELU"),
        (lambda: rf.leaky_relu(X, True), "negative_slope = True"),
    ],
)
def test_parameters_outside_their_bounds_are_refused_at_construction_and_call(make, words):
    for error in (ParameterError, ValueError, RuntimeError):
        with pytest.raises(error, match=words):
            make()


def test_kerass_name_of_the_slope_becomes_ours():
    for call in (lambda: rf.leaky_relu(X, alpha=0.1), lambda: rt.LeakyReLU(alpha=0.1)):
        with pytest.raises(ParameterError, match=r"no parameter 'alpha'.* It is called negative_slope"):
            call()


def test_sizes_and_axes_of_a_module_that_do_not_match_are_refused_at_construction():
    for make in (lambda: rt.PReLU((2, 3)), lambda: rt.PReLU(3, axis=(1, 2)), lambda: rt.PReLU((2, 3), axis=(1,))):
        with pytest.raises(
            ShapeError, match=r"num_parameters = .* for axis = .*one size for each axis.*\[weight-shape\]"
        ):
            make()
    with pytest.raises(ShapeError, match=r"axis = 1\.5\. Expected an integer"):
        rt.PReLU(3, axis=1.5)


def test_numpy_numbers_are_accepted_as_by_pytorch():
    x = torch.linspace(-2, 2, 7)
    for name in ("elu", "celu", "leaky_relu"):
        ours, native = getattr(rf, name), getattr(nn.functional, name)
        for number in (np.float32(0.5), np.float64(0.5), np.int64(2)):
            assert torch.equal(ours(x, number), native(x, number))
    assert torch.equal(rf.rrelu(x, np.float32(0.25), np.float32(0.75)), nn.functional.leaky_relu(x, 0.5))
    assert rf.rrelu(-x.abs(), np.float32(0.25), np.float32(0.75), training=True).shape == x.shape


@pytest.mark.parametrize(
    ("shape", "weight", "axis", "words"),
    [
        ((2, 4), (3,), 1, r"weight of shape \(3,\) does not fit x of shape \(2, 4\).*channel size"),
        ((2, 4), (4,), 2, r"axis = 2: x of shape \(2, 4\) has no such axis"),
        ((2, 4), (4,), -3, r"axis = -3"),
        ((4,), (4,), 1, r"axis = 1: x of shape \(4,\)"),
        ((), (4,), 1, "Not allow zero-dim input tensor"),
        ((2, 4), (2, 4), 1, "scalar or 1D tensor, but got: ndim = 2"),
        ((2, 4, 4), (4, 3), (1, 2), r"weight of shape \(4, 3\) does not fit"),
        ((2, 4, 4), (4, 4), (1, 1), r"axis = \(1, 1\).*Name each once"),
        ((2, 4, 4), (4, 4), (2, 1), r"axis = \(2, 1\).*in rising order"),
    ],
)
def test_slopes_that_do_not_fit_are_refused(shape, weight, axis, words):
    for error in (ShapeError, ValueError, RuntimeError):
        with pytest.raises(error, match=words):
            rf.prelu(torch.ones(shape), torch.ones(weight), axis)


def test_slopes_of_another_dtype_and_slopes_that_are_not_tensors_are_refused():
    with pytest.raises(RuntimeError, match="Type promoting not supported"):
        rf.prelu(torch.ones(2, 3).half(), torch.ones(3))
    with pytest.raises(TypeError, match=r"relu\(\): argument 'input' .* must be Tensor, not list"):
        rf.relu([1.0])
