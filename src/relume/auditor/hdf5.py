"""A file of Keras (``.keras``, ``.h5``) → a tree of its arrays. Nothing in it is run, and no link is followed."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from relume.artifacts.tensor import Tensor
from relume.auditor.keras_layout import layout
from relume.errors import MissingExtra

BEGINS = b"\x89HDF\r\n\x1a\n"
WITHIN = "model.weights.h5"
"""The weights' name in a ``.keras`` archive."""

CONFIG = "config.json"
"""The model's configuration in it."""

MOST_IN_MEMORY = 1 << 30
"""Bytes of one array that is chunked, or in an archive: it must be read as a whole."""


def read(path: Path) -> Mapping[str, Any]:
    """The weights by path, the optimizer's moments, and the layout of the model where the file has it.

    Raises: MissingExtra: without h5py. OSError, ValueError: it is damaged.
    """
    try:
        import h5py  # type: ignore[import-untyped]
    except ModuleNotFoundError as absent:
        raise MissingExtra(
            f"{path} was written by Keras; h5py, which reads it, is not installed: pip install 'relume[keras]'",
            slug="missing-extra",
        ) from absent
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive, archive.open(WITHIN) as within, h5py.File(within, "r") as file:
            config = archive.read(CONFIG) if CONFIG in archive.namelist() else None
            return _with_layout(_tree(file, None), config)
    with h5py.File(path, "r") as file:
        return _with_layout(_tree(file, path), file.attrs.get("model_config"))


def _with_layout(tree: dict[str, Any], config: Any) -> dict[str, Any]:
    """The tree with its layers in the model's order, if the file has that order."""
    if not isinstance(config, (str, bytes)):
        return tree  # of save_weights
    try:
        found = layout(json.loads(config))
    except (LookupError, TypeError, AttributeError):
        return tree  # of a class of the user's, whose configuration may be anything
    places = {name: place for place, name in enumerate(found.order)}
    known = {name: places.get(name.rpartition("/")[0].replace("/", "."), len(places)) for name in tree}
    return {"layout": found, **{name: tree[name] for name in sorted(tree, key=known.__getitem__)}}


def _tree(file: Any, path: Path | None) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    groups: dict[tuple[str, ...], list[Any]] = {}
    for where, dataset in _datasets(file, (), set()):
        if "vars" in where:
            groups.setdefault(where[: where.index("vars")], []).append((int(where[-1]), _array(dataset, path)))
            continue
        short = where[2:] if where[0] == "model_weights" else where  # the variable's own path follows the layer's
        tree["/".join(short)] = _array(dataset, path)
    for layer, numbered in groups.items():
        arrays = [array for _, array in sorted(numbered, key=lambda each: each[0])]
        if layer == ("optimizer",):
            tree["optimizer"] = _adam(str(file["optimizer/vars"].attrs.get("name", "")), arrays)
            continue
        name = _name(file, layer) or "model"
        tree |= {f"{name}/{part}": array for part, array in zip(_names(arrays), arrays, strict=True)}
    return tree


def _datasets(group: Any, where: tuple[str, ...], met: set[int]) -> Iterator[tuple[tuple[str, ...], Any]]:
    import h5py

    for key in group:
        if not isinstance(group.get(key, getlink=True), h5py.HardLink):
            continue  # a link into another file, or to nowhere
        item = group[key]
        address = h5py.h5o.get_info(item.id).addr
        if address in met:
            continue
        met.add(address)
        if isinstance(item, h5py.Group):
            yield from _datasets(item, (*where, key), met)
        elif isinstance(item, h5py.Dataset) and not item.external and not item.is_virtual:
            yield (*where, key), item


def _array(dataset: Any, path: Path | None) -> Any:
    """Mapped if it is contiguous in the file; a single integer as a number, None for other non-floats."""
    if dataset.dtype.kind in "iu" and dataset.size == 1:
        return int(dataset[()])
    if dataset.dtype.kind != "f" or dataset.dtype.itemsize > 8 or dataset.shape is None:
        return None
    offset = dataset.id.get_offset() if path is not None and dataset.size else None
    if offset is not None and dataset.ndim:
        return Tensor(np.memmap(str(path), dataset.dtype, "r", offset, dataset.shape))
    if dataset.size * dataset.dtype.itemsize > MOST_IN_MEMORY:
        raise ValueError(f"{dataset.name} has {dataset.size * dataset.dtype.itemsize:,} bytes and cannot be mapped")
    return Tensor(np.asarray(dataset[()]))


def _name(file: Any, layer: tuple[str, ...]) -> str:
    """The user's name of a layer, with the names of the models around it: Keras 3 stores each next to the variables."""
    told = []
    for end, key in enumerate(layer, 1):
        if key != "layers":
            variables = file.get("/".join((*layer[:end], "vars")))
            told.append(str(variables.attrs.get("name", key)) if variables is not None else key)
    return "/".join(told)


def _names(arrays: Sequence[Any]) -> Sequence[str]:
    """The names of a layer's variables, which Keras 3 numbers; the numbers for other kinds of layers."""
    shapes = [array.shape if isinstance(array, Tensor) else () for array in arrays]
    if len(shapes[0]) > 1 and [len(shape) for shape in shapes[1:]] in ([], [1]):
        return ("kernel", "bias")[: len(shapes)]
    if len(shapes) == 4 and len(shapes[0]) == 1 and len(set(shapes)) == 1:
        return ("gamma", "beta", "moving_mean", "moving_variance")
    return [str(number) for number in range(len(shapes))]


def _adam(name: str, arrays: Sequence[Any]) -> Mapping[str, Any]:
    """In PyTorch's form: the step, then each parameter's first and second moment. Only for Adam and AdamW."""
    step, moments = arrays[0], arrays[2:]
    pairs = list(zip(moments[::2], moments[1::2], strict=False)) if name in ("adam", "adamw") else []
    state = {n: {"step": step, "exp_avg": m, "exp_avg_sq": v} for n, (m, v) in enumerate(pairs)}
    return {"state": state, "param_groups": [{"params": list(state)}]}
