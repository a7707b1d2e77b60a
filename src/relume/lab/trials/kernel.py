"""Linux calls that the standard library does not offer, through the C library."""

from __future__ import annotations

import ctypes
import os

NAMESPACE_OF_MOUNTS, NAMESPACE_OF_USERS = 0x00020000, 0x10000000
RECURSIVE, PRIVATE = 0x4000, 0x40000

_CUDA_BEGINS, _CUDA_BEGAN = "/usr/bin/nvidia-modprobe", "/dev/nvidia-uvm"


def demand_cuda_began() -> None:
    """Raises: OSError: CUDA's device is missing, and only a program with privileges can create it."""
    if os.geteuid() and os.path.exists(_CUDA_BEGINS) and not os.path.exists(_CUDA_BEGAN):
        raise OSError(f"CUDA has not created {_CUDA_BEGAN} yet (run `nvidia-modprobe -u -c=0` once)")


def unshare(namespaces: int) -> None:
    """Give this process its own namespaces. Raises: OSError: not permitted."""
    _checked("unshare", namespaces)


def mount(source: str, target: str, kind: str = "", *, flags: int = 0, options: str = "") -> None:
    """Mount a file system. Raises: OSError: it cannot be mounted."""
    texts = [os.fsencode(text) for text in (source, target, kind)]
    _checked("mount", *texts, flags, os.fsencode(options))


def prctl(what: int, value: int) -> None:
    """Set an attribute of this process. Raises: OSError: this system does not know it."""
    _checked("prctl", what, value, 0, 0, 0)


def call(number: int, *arguments: bytes | int | None) -> int:
    """Make a system call by number; returns its result. Raises: OSError: the kernel refuses or lacks it."""
    return _checked("syscall", number, *arguments)


def _checked(function: str, *arguments: bytes | int | None) -> int:
    try:
        result = int(getattr(ctypes.CDLL(None, use_errno=True), function)(*arguments))
    except AttributeError:  # another system's C library
        raise OSError(f"this system has no {function}") from None
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{function}: {os.strerror(number)}")
    return result
