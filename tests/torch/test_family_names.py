"""relume.torch's public names: PyTorch's signatures, all described, imported on first use."""

from __future__ import annotations

import copy
import doctest
import inspect
import pickle
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import relume.torch as rt
import relume.torch.functional as rf
from relume.activations import get
from relume.errors import ParameterError
from relume.torch import layers


def test_every_name_is_there_and_described():
    assert sorted(rt.__all__) == sorted([*layers.__all__, "functional"]) == sorted(dir(rt))
    assert all(getattr(rt, name) is getattr(layers, name) for name in layers.__all__)
    assert all(getattr(rt, name).__doc__ for name in rt.__all__)
    assert all(getattr(rf, name).__doc__ for name in rf.__all__)
    with pytest.raises(AttributeError, match=r"'relume\.torch' has no attribute 'Elu'"):
        _ = rt.Elu


OWN = [name for name in rf.__all__ if inspect.isfunction(getattr(rf, name))]


def parameters(function):
    return {name: p.default for name, p in inspect.signature(function).parameters.items() if name != "self"}


NATIVE = [name for name in layers.__all__ if hasattr(nn, name)]


@pytest.mark.parametrize("name", [name for name in layers.__all__ if name not in NATIVE])
def test_a_module_that_pytorch_lacks_has_the_definitions_parameters_and_is_saved_and_copied(name):
    module, activation = getattr(rt, name)(), get(name)
    numbers = {p.name: 0.75 for p in activation.parameters}
    other = getattr(rt, name)(**numbers)
    x = torch.tensor([-2.0, 3.0])
    for each in (other, getattr(rt, name)(*numbers.values()), pickle.loads(pickle.dumps(other)), copy.deepcopy(other)):
        assert repr(each) == f"{name}({', '.join(f'{key}=0.75' for key in numbers)})"
        assert torch.equal(each(x), getattr(rf, activation.name)(x, **numbers))
    assert torch.equal(module(x), getattr(rf, activation.name)(x))
    with pytest.raises(ParameterError, match="has no parameter 'slope'"):
        getattr(rt, name)(slope=1.0)
    with pytest.raises(TypeError, match=f"takes {len(numbers)} parameters"):
        getattr(rt, name)(1.0, 2.0)


@pytest.mark.parametrize("name", NATIVE)
def test_a_modules_parameters_begin_with_pytorchs_and_extra_ones_are_keyword_only(name):
    ours, native = inspect.signature(getattr(rt, name)).parameters, parameters(getattr(nn, name))
    assert {k: p.default for k, p in list(ours.items())[: len(native)]} == native
    assert all(p.kind in (p.KEYWORD_ONLY, p.VAR_KEYWORD) for p in list(ours.values())[len(native) :])
    assert issubclass(getattr(rt, name), getattr(nn, name))


@pytest.mark.parametrize("name", [name for name in OWN if inspect.isfunction(getattr(F, name, None))])
def test_a_functions_first_parameters_are_pytorchs(name):
    ours, native = parameters(getattr(rf, name)), parameters(getattr(F, name))
    own = list(ours.items())[: len(native)]
    assert [k for k, _ in own] == list(native)
    assert all(default == native[k] for k, default in own if native[k] is not inspect.Parameter.empty)


@pytest.mark.parametrize("module", [rf, layers, rt], ids=lambda module: module.__name__)
def test_examples_in_docstrings_work(module):
    result = doctest.testmod(module)
    assert (result.failed, result.attempted > 0) == (0, True)


def test_the_folder_is_imported_without_torch_and_its_names_without_other_frameworks():
    code = (
        "import sys, relume.torch; assert 'torch' not in sys.modules; relume.torch.PReLU; "
        "print(sorted({'torch', 'tensorflow', 'jax', 'keras', 'onnx'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "['torch']"
