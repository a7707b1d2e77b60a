"""A file → a tree of its arrays. The first bytes give the format; the arrays stay on disk.

No code in a file is ever run: PyTorch's are read with ``weights_only=True``, the others contain plain arrays.
"""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from relume.artifacts.tensor import Tensor
from relume.auditor import hdf5
from relume.errors import CheckpointError, MissingExtra
from relume.framework import FRAMEWORKS

SUFFIXES = (".pt", ".pth", ".ckpt", ".bin", ".safetensors", ".npz", ".keras", ".h5", ".hdf5")
"""The suffixes that identify checkpoints in a folder."""

MOST_UNPACKED = 1 << 30
"""Bytes of one compressed array: it must be unpacked as a whole."""

_LONGEST_HEADER = 100 << 20  # the limit of the safetensors library
_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
_INTEGERS = {"I64": "<i8", "I32": "<i4"}


def read(path: Path) -> Any:
    """The tree of a file: mappings and lists, with a ``Tensor`` for each array of floats.

    Raises:
        CheckpointError: absent, damaged, not plain arrays, or of an unknown format.
        MissingExtra: a file of PyTorch or Keras whose reader is not installed.
    """
    try:
        with path.open("rb") as file:
            start = file.read(16)
    except OSError as error:
        raise CheckpointError(
            f"Cannot read the checkpoint {path}: {error.strerror or error}. Give a file that exists, or a folder.",
            slug="checkpoint-absent",
        ) from error
    try:
        if _is_safetensors(start, path.stat().st_size):
            return _safetensors(path)
        if start.startswith(b"PK") and _is_npz(path):
            return _npz(path)
        if start.startswith(hdf5.BEGINS) or (start.startswith(b"PK") and _holds(path, hdf5.WITHIN)):
            return hdf5.read(path)
    except MissingExtra:
        raise
    except Exception as error:  # a damaged file can raise anything in the readers of zipfile, NumPy and HDF5
        raise _damaged(path, error) from error
    if start.startswith((b"PK", b"\x80")):
        return _reader(path).read(path)
    raise CheckpointError(
        f"{path} is not a checkpoint that relume can read. It reads torch.save files (.pt, .ckpt, .bin), Keras files "
        "(.keras, .h5), .safetensors and .npz; convert others to one of these.",
        slug="checkpoint-foreign",
    )


def _reader(path: Path) -> Any:
    """The module that reads a file of PyTorch."""
    try:
        return next(framework for framework in FRAMEWORKS if framework.package == "torch").load_checkpoints()
    except ModuleNotFoundError as absent:
        if absent.name != "torch":
            raise
        raise MissingExtra(
            f"{path} was written by PyTorch, which is not installed: pip install 'relume[torch]'", slug="missing-extra"
        ) from absent


def _damaged(path: Path, error: Exception) -> CheckpointError:
    return CheckpointError(
        f"{path} is damaged or truncated ({error}). Copy it again from its source.", slug="checkpoint-damaged"
    )


# ---- safetensors ---------------------------------------------------------------------------------------------------


def _is_safetensors(start: bytes, size: int) -> bool:
    return len(start) >= 9 and start[8:9] == b"{" and int.from_bytes(start[:8], "little") <= max(size, _LONGEST_HEADER)


def _safetensors(path: Path) -> Mapping[str, Any]:
    """Source: the format's page, https://huggingface.co/docs/safetensors ("Format")."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > min(size - 8, _LONGEST_HEADER):
            raise ValueError(f"its header claims {length:,} bytes, but the file has {size:,}")
        header = json.loads(file.read(length))
    whole = np.memmap(path, mode="r")
    entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
    return {name: _entry(name, entry, whole[8 + length :]) for name, entry in entries.items()}


def _entry(name: str, entry: Mapping[str, Any], data: np.ndarray[Any, Any]) -> Any:
    shape, (start, end) = tuple(entry["shape"]), entry["data_offsets"]
    code = _DTYPES.get(entry["dtype"]) or _INTEGERS.get(entry["dtype"])
    if code is None:
        return None
    dtype = np.dtype(code)
    if math.prod(shape) * dtype.itemsize != end - start or end > data.size:
        raise ValueError(f"{name!r} of shape {shape} claims bytes {start:,} to {end:,} of {data.size:,}")
    array = np.frombuffer(data[start:end], dtype).reshape(shape)
    if entry["dtype"] in _INTEGERS:
        return int(array.reshape(-1)[0]) if array.size == 1 else None
    return Tensor(array, bits=entry["dtype"] == "BF16")


# ---- NumPy ---------------------------------------------------------------------------------------------------------


def _holds(path: Path, name: str) -> bool:
    with zipfile.ZipFile(path) as archive:
        return name in archive.namelist()


def _is_npz(path: Path) -> bool:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    return bool(names) and all(name.endswith(".npy") for name in names)


def _npz(path: Path) -> Mapping[str, Any]:
    with zipfile.ZipFile(path) as archive:
        found = {member.filename.removesuffix(".npy"): _member(path, archive, member) for member in archive.infolist()}
    return found


def _member(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Any:
    """An array of the archive; an uncompressed one is mapped."""
    with archive.open(member) as stream:
        version = np.lib.format.read_magic(stream)
        read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        shape, fortran, dtype = read_header[version](stream)
        start = stream.tell()
        bytes_of_it = math.prod(shape) * dtype.itemsize
        if dtype.kind not in "fiu" or dtype.itemsize > 8:
            return None
        if start + bytes_of_it != member.file_size:
            raise ValueError(f"{member.filename} has {member.file_size:,} bytes for an array of the shape {shape}")
        order: Any = "F" if fortran else "C"
        if member.compress_type == zipfile.ZIP_STORED and bytes_of_it:
            array = np.memmap(path, dtype, "r", _offset(path, member) + start, shape or (1,), order).reshape(shape)
        elif bytes_of_it <= MOST_UNPACKED:
            array = np.frombuffer(stream.read(bytes_of_it), dtype).reshape(shape, order=order)
        else:
            raise ValueError(f"{member.filename} unpacks to {bytes_of_it:,} bytes; save it with numpy.savez")
    if dtype.kind != "f":
        return int(array.reshape(-1)[0]) if array.size == 1 else None
    return Tensor(array)


def _offset(path: Path, member: zipfile.ZipInfo) -> int:
    """Where the member's bytes begin: after its local header, whose name and extra field have their own lengths."""
    with path.open("rb") as file:
        file.seek(member.header_offset + 26)
        lengths = file.read(4)
    name, extra = int.from_bytes(lengths[:2], "little"), int.from_bytes(lengths[2:], "little")
    return member.header_offset + 30 + name + extra
