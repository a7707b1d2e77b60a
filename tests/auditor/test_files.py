"""Files of every kind, whole, damaged and hostile: read to the bit or refused with the reason, and never run."""

from __future__ import annotations

import argparse
import json
import os
import pickle
import random
import sys
import tracemalloc
import zipfile

import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch
from torch import nn

import relume
from relume.artifacts.tensor import Tensor
from relume.auditor.files import read
from relume.errors import CheckpointError, MissingExtra


@pytest.fixture
def arrays():
    draw = torch.Generator().manual_seed(0)
    return {
        "a.weight": torch.randn(6, 4, generator=draw),
        "a.bias": torch.randn(6, generator=draw).to(torch.float16),
        "b.weight": torch.randn(3, 2, 5, 5, generator=draw).to(torch.bfloat16),
        "c.weight": torch.randn(3, 2, generator=draw).to(torch.float64),
        "empty": torch.zeros(0, 4),
    }


def same(found, arrays):
    return all(np.array_equal(found[name].numbers(), tensor.double().numpy()) for name, tensor in arrays.items())


def test_safetensors_are_read_as_their_library_reads_them(tmp_path, arrays):
    arrays["count"] = torch.tensor(7)
    safetensors.torch.save_file(arrays, tmp_path / "a.safetensors", {"format": "pt"})
    found = read(tmp_path / "a.safetensors")
    assert found.pop("count") == 7
    assert same(found, {name: tensor for name, tensor in arrays.items() if name != "count"})


def test_files_of_pytorch_are_read_to_the_bit_in_both_of_its_formats(tmp_path, arrays):
    torch.save(arrays, tmp_path / "a.pt")
    torch.save(arrays, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    assert same(read(tmp_path / "a.pt"), arrays)
    assert same(read(tmp_path / "old.pt"), arrays)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_archives_of_numpy_are_read_to_the_bit(tmp_path, save):
    draw = np.random.default_rng(0)
    arrays = {"a/kernel": draw.normal(size=(5, 7)), "f": np.asfortranarray(draw.normal(size=(4, 3)).astype(np.float32))}
    save(tmp_path / "a.npz", **arrays, count=np.int64(9), name=np.str_("x"))
    found = read(tmp_path / "a.npz")
    assert all(np.array_equal(found[name].numbers(), array) for name, array in arrays.items())
    assert (found["count"], found["name"]) == (9, None)


def test_the_name_of_a_file_does_not_matter(tmp_path, arrays):
    torch.save(arrays, tmp_path / "a.weights")
    safetensors.torch.save_file(arrays, tmp_path / "b.pt")
    assert same(read(tmp_path / "a.weights"), arrays)
    assert same(read(tmp_path / "b.pt"), arrays)


# ---- hostile -------------------------------------------------------------------------------------------------------


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (str(self.path),))


@pytest.mark.parametrize("new", [True, False])
def test_code_in_a_pickle_is_not_run(tmp_path, new):
    torch.save({"model": Bomb(tmp_path / "ran")}, tmp_path / "a.pt", _use_new_zipfile_serialization=new)
    with pytest.raises(CheckpointError, match=r"more than tensors.*mkdir.*checkpoint-not-plain") as refused:
        relume.audit(tmp_path / "a.pt")
    assert refused.value.slug == "checkpoint-not-plain"
    assert not (tmp_path / "ran").exists()


def test_a_bare_pickle_is_not_run_either(tmp_path):
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(Bomb(tmp_path / "ran")))
    with pytest.raises(CheckpointError):
        relume.audit(tmp_path / "a.pkl")
    assert not (tmp_path / "ran").exists()


def test_objects_of_a_users_classes_are_refused_by_their_name(tmp_path):
    torch.save({"model": {"a.weight": torch.ones(3, 3)}, "args": argparse.Namespace(lr=1)}, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match=r"argparse\.Namespace.*Save only the state dicts"):
        relume.audit(tmp_path / "a.pt")


def test_a_scripted_model_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.pt", "w") as archive:
        archive.writestr("a/constants.pkl", b"\x80\x02).")
        archive.writestr("a/data.pkl", b"\x80\x02}.")
        archive.writestr("a/version", b"3\n")
    with pytest.raises(CheckpointError, match="TorchScript"):
        relume.audit(tmp_path / "a.pt")


def test_an_archive_that_would_unpack_to_much_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", b"\0" * (1 << 24))
    with pytest.raises(CheckpointError, match="compressed parts"):
        relume.audit(tmp_path / "a.pt")


def test_a_number_that_is_expanded_to_a_terabyte_is_not_a_weight(tmp_path):
    torch.save({"a.weight": torch.ones(1).expand(1 << 20, 1 << 20)}, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match="has no weights"):
        relume.audit(tmp_path / "a.pt")


def test_a_tree_that_contains_itself_is_walked_once(tmp_path):
    tree = {"a.weight": torch.ones(3, 3)}
    tree["again"] = tree
    doubled = [tree]
    for _ in range(60):
        doubled = [doubled, doubled]  # 2⁶⁰ paths
    torch.save(doubled, tmp_path / "a.pt")
    assert len(relume.audit(tmp_path / "a.pt").sites) == 1


def header(entries):
    text = json.dumps(entries).encode()
    return len(text).to_bytes(8, "little") + text


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F32", "shape": [4, 4], "data_offsets": [0, 1 << 40]},
        {"dtype": "F32", "shape": [1 << 40, 1 << 40], "data_offsets": [0, 64]},
        {"dtype": "F32", "shape": [-4, -4], "data_offsets": [0, 64]},
        {"dtype": "F32", "shape": [4, 4], "data_offsets": [64, 0]},
        {"dtype": "F32", "shape": "wide", "data_offsets": [0, 64]},
        {"dtype": "F32", "shape": [4, 4]},
        [],
    ],
)
def test_a_safetensors_header_that_lies_is_refused(tmp_path, entry):
    (tmp_path / "a.safetensors").write_bytes(header({"a.weight": entry}) + b"\0" * 64)
    with pytest.raises(CheckpointError, match="damaged or truncated"):
        relume.audit(tmp_path / "a.safetensors")


def test_a_header_nested_without_end_is_refused(tmp_path):
    text = b'{"a":' + b"[" * 200_000
    (tmp_path / "a.safetensors").write_bytes(len(text).to_bytes(8, "little") + text)
    with pytest.raises(CheckpointError, match="damaged"):
        relume.audit(tmp_path / "a.safetensors")


@pytest.mark.parametrize("kind", ["pt", "old", "safetensors", "npz"])
def test_a_file_cut_off_or_overwritten_anywhere_is_read_or_refused(tmp_path, kind):
    model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.randn(4, 6)).sum().backward()
    optimizer.step()
    whole = tmp_path / f"whole.{kind}"
    if kind in ("pt", "old"):
        state = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
        torch.save(state, whole, _use_new_zipfile_serialization=kind == "pt")
    elif kind == "safetensors":
        safetensors.torch.save_file(model.state_dict(), whole)
    else:
        np.savez(whole, **{name: tensor.numpy() for name, tensor in model.state_dict().items()})
    data, draw, broken = whole.read_bytes(), random.Random(0), tmp_path / f"broken.{kind}"
    refused = 0
    for trial in range(60):
        hurt = bytearray(data[: draw.randrange(len(data))] if trial % 2 else data)
        if not trial % 2:
            place = draw.randrange(len(hurt))
            hurt[place : place + 8] = draw.randbytes(8)
        broken.write_bytes(hurt)
        try:
            relume.audit(broken)
        except CheckpointError:
            refused += 1
    assert refused > 20


@pytest.mark.parametrize(
    "content", [b"", b"PK", b"\x80", b"hello", b"\x89HDF\r\n\x1a\n" + b"\0" * 99, b"SQLite format 3\0"]
)
def test_a_file_that_is_not_a_checkpoint_is_refused(tmp_path, content):
    (tmp_path / "a.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"a\.pt"):
        relume.audit(tmp_path / "a.pt")


def test_a_file_of_pytorch_without_pytorch_names_the_extra(tmp_path, arrays, monkeypatch):
    torch.save(arrays, tmp_path / "a.pt")
    safetensors.torch.save_file(arrays, tmp_path / "a.safetensors")
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "relume.torch.checkpoints", raising=False)
    assert same(read(tmp_path / "a.safetensors"), {"c.weight": arrays["c.weight"]})
    with pytest.raises(MissingExtra, match=r"pip install 'relume\[torch\]'"):
        read(tmp_path / "a.pt")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"Cannot read.*gone\.pt"):
        relume.audit(tmp_path / "gone.pt")
    with pytest.raises(CheckpointError, match=r"Cannot read.*too long"):
        relume.audit(tmp_path / ("x" * 300 + ".pt"))
    with pytest.raises(CheckpointError, match="no checkpoint in"):
        relume.audit(tmp_path)


# ---- large ---------------------------------------------------------------------------------------------------------


def test_a_large_file_passes_through_a_little_memory(tmp_path):
    entry = {"dtype": "F32", "shape": [8192, 8192], "data_offsets": [0, 1 << 28]}
    with (tmp_path / "a.safetensors").open("wb") as file:
        file.write(header({"a.weight": entry}))
        file.truncate(file.tell() + (1 << 28))  # a hole
    tracemalloc.start()
    relume.audit(tmp_path / "a.safetensors")
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 1 << 25


def test_20_gb_of_a_format_that_cannot_be_mapped_are_refused(tmp_path):
    torch.save({"a.weight": torch.ones(3, 3)}, tmp_path / "a.pt", _use_new_zipfile_serialization=False)
    with (tmp_path / "a.pt").open("r+b") as file:
        file.truncate(20 << 30)
    with pytest.raises(CheckpointError, match=r"20 GB.*checkpoint-too-large"):
        relume.audit(tmp_path / "a.pt")


@pytest.mark.parametrize(
    ("shape", "axis"), [((600, 700), 0), ((600, 700), 1), ((3, 3, 64, 900), -1), ((5, 300_000), 0)]
)
def test_sums_in_slabs_equal_the_sum_of_the_whole(shape, axis):
    from relume.artifacts.tensor import largest, squares, sums

    numbers = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    wide = np.moveaxis(numbers.astype(np.float64), axis, 0).reshape(shape[axis], -1)
    assert np.allclose(squares(Tensor(numbers), axis), (wide**2).sum(1), rtol=1e-12)
    assert np.allclose(sums(Tensor(numbers), axis), wide.sum(1), rtol=1e-9, atol=1e-9)
    assert np.array_equal(largest(Tensor(numbers), axis), np.abs(wide).max(1))
