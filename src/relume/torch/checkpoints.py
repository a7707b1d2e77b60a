"""Reading a file of ``torch.save``: mapped, not loaded, and with ``weights_only=True``, so that nothing in it runs."""

from __future__ import annotations

import pickle
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from relume.artifacts.tensor import Tensor
from relume.errors import CheckpointError

MOST_IN_MEMORY = 4 << 30
"""Bytes of a file from before PyTorch 1.6, which cannot be mapped: it is loaded as a whole."""

_FLOATS = (torch.float32, torch.float64, torch.float16)


def read(path: Path) -> Any:
    """The object in the file: its containers and numbers as they are, each dense tensor of floats as a ``Tensor``.

    Whatever else a tensor may be (sparse, quantized, of integers or of eight bits) is None, and so is a container
    within itself.

    Raises: CheckpointError: damaged, too large to be loaded, or it holds what only unpickling could make.
    """
    return _plain(_loaded(path), {})


def lower_rates(path: Path, out: Path, factor: float) -> list[tuple[float, float]]:
    """Write the file again with its optimizers' learning rates times ``factor``, and those of its schedulers.

    Returns: (rate before, rate after) of each parameter group.

    Raises: CheckpointError: as :func:`read`, it holds no optimizer's state, or ``out`` exists or cannot be written.
    """
    loaded, changed = _loaded(path), []
    for state in _mappings(loaded, set()):
        for name in ("base_lrs", "_last_lr"):  # of a scheduler
            if isinstance(state.get(name), list):
                state[name] = [rate * factor for rate in state[name]]
        for group in state["param_groups"] if isinstance(state.get("param_groups"), list) else ():
            if "lr" in group:
                changed.append((float(group["lr"]), float(group["lr"] * factor)))
                group |= {name: group[name] * factor for name in ("lr", "initial_lr") if name in group}
    if not changed:
        raise CheckpointError(
            f"{path} has no optimizer state, so no learning rate. Give a checkpoint to resume from, saved with "
            "optimizer.state_dict().",
            slug="checkpoint-without-optimizer",
        )
    try:
        with out.open("xb") as file:
            torch.save(loaded, file)
    except OSError as error:
        raise CheckpointError(
            f"Cannot write {out}: {error.strerror or error}. Give the name of a new file with -o.",
            slug="checkpoint-not-writable",
        ) from error
    return changed


def _mappings(found: Any, seen: set[int]) -> Iterator[Any]:
    """Every mapping in a loaded file, once."""
    if isinstance(found, (dict, list, tuple)) and id(found) not in seen:
        seen.add(id(found))
        if isinstance(found, dict):
            yield found
        for part in found.values() if isinstance(found, dict) else found:
            yield from _mappings(part, seen)


def _loaded(path: Path) -> Any:
    mapped = _is_archive(path)
    if not mapped and path.stat().st_size > MOST_IN_MEMORY:
        raise CheckpointError(
            f"{path} has the format used before PyTorch 1.6, which must be loaded as a whole, and is "
            f"{path.stat().st_size / 2**30:.0f} GB. Load it and save it again: torch.save(torch.load(...), ...).",
            slug="checkpoint-too-large",
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
        return loaded
    except pickle.UnpicklingError as error:
        raise _not_plain(path, error) from error
    except Exception as error:  # a damaged file can raise anything in the reader
        if "TorchScript" in str(error):
            raise _not_plain(path, error) from error
        raise CheckpointError(
            f"{path} cannot be read by torch.load ({_first_line(error)}). It is damaged or cut off: copy it again from "
            "its original place.",
            slug="checkpoint-damaged",
        ) from error


def _is_archive(path: Path) -> bool:
    """Whether it is an archive of ``torch.save``, whose parts lie in it as they are and can be mapped.

    Raises: CheckpointError: an archive whose parts are compressed: PyTorch writes none, and a bomb would be one.
    """
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        packed = [member.filename for member in archive.infolist() if member.compress_type != zipfile.ZIP_STORED]
    if packed:
        raise CheckpointError(
            f"{path} is an archive with compressed parts ({packed[0]}), as torch.save does not write them. Unpack it, "
            "and give the checkpoint in it.",
            slug="checkpoint-foreign",
        )
    return True


def _not_plain(path: Path, error: Exception) -> CheckpointError:
    return CheckpointError(
        f"{path} has more than tensors and plain values, and relume unpickles nothing that could run code "
        f"({_culprit(error)}). Save only the state dicts: torch.save({{'model': model.state_dict(), "
        "'optimizer': optimizer.state_dict()}, FILE).",
        slug="checkpoint-not-plain",
    )


def _culprit(error: Exception) -> str:
    """What was in the way, out of PyTorch's long message."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if "GLOBAL" in line or "TorchScript" in line or "Unsupported" in line]
    return (told or lines or [type(error).__name__])[0][:200]


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def _plain(found: Any, made: dict[int, Any]) -> Any:
    """``made``: what each container became, so that one which holds itself is walked once."""
    if isinstance(found, torch.Tensor):
        return _tensor(found)
    if isinstance(found, (Mapping, list, tuple, set)):
        if id(found) not in made:
            made[id(found)] = None
            parts = found.items() if isinstance(found, Mapping) else enumerate(found)
            plain = {key: _plain(value, made) for key, value in parts}
            made[id(found)] = plain if isinstance(found, Mapping) else list(plain.values())
        return made[id(found)]
    return found if isinstance(found, (str, int, float, bool)) else None


def _tensor(tensor: torch.Tensor) -> Tensor | int | float | None:
    """The tensor's numbers where they lie; of a single integer the number; None for what is no plain array."""
    tensor = tensor.detach()
    if tensor.layout is not torch.strided or tensor.device.type != "cpu" or tensor.is_quantized:
        return None
    if type(tensor) is not torch.Tensor and type(tensor) is not torch.nn.Parameter:
        return None
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        return None  # a stride of 0 makes a file of any size out of a single number
    if tensor.numel() == 1 and tensor.dtype in (torch.int64, torch.int32):
        return int(tensor.item())
    if tensor.dtype is torch.bfloat16:
        return Tensor(tensor.view(torch.uint16).numpy(), bits=True)
    return Tensor(tensor.numpy()) if tensor.dtype in _FLOATS else None
