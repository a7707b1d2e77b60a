"""Landlock: the kernel denies this process and its descendants every write below a folder (since Linux 5.13)."""

from __future__ import annotations

import os
import stat
import struct

from relume.lab.trials import kernel

_CREATE, _ADD_RULE, _RESTRICT = 444, 445, 446
_ASK_VERSION = 1
_BELOW_A_PATH = 1
_NO_NEW_PRIVILEGES = 38

_WRITE_FILE, _REFER, _TRUNCATE = 1 << 1, 1 << 13, 1 << 14
_CHANGE_FOLDER = sum(1 << bit for bit in range(4, 13))  # remove and create files, folders, links, devices
_SINCE = {1: _WRITE_FILE | _CHANGE_FOLDER, 2: _REFER, 3: _TRUNCATE}
"""Version of Landlock → what it can deny since then. Version 1 denies every move between folders instead of some."""


def deny_writes_below(root: str) -> None:
    """Deny writes to the folder: everything next to it stays allowed, including what is created there later.

    New files in the folders above ``root`` are denied too, since a rule applies to everything below it.

    Raises: OSError: the kernel has no Landlock, or does not let this process use it.
    """
    kernel.demand_cuda_began()
    version = kernel.call(_CREATE, None, 0, _ASK_VERSION)
    denied = sum(rights for since, rights in _SINCE.items() if since <= version)
    rules = kernel.call(_CREATE, struct.pack("=Q", denied), 8, 0)
    try:
        above = "/"
        for part in root.strip("/").split("/"):
            for beside in os.scandir(above):
                if beside.name != part and not beside.is_symlink():
                    _allow(rules, beside.path, denied)
            above = os.path.join(above, part)
        kernel.prctl(_NO_NEW_PRIVILEGES, 1)
        kernel.call(_RESTRICT, rules, 0)
    finally:
        os.close(rules)


def _allow(rules: int, path: str, rights: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:  # gone or invisible: it stays denied
        return
    try:
        if not stat.S_ISDIR(os.fstat(place).st_mode):
            rights &= _WRITE_FILE | _TRUNCATE
        kernel.call(_ADD_RULE, rules, _BELOW_A_PATH, struct.pack("=Qi", rights, place), 0)
    except OSError:  # a file system of the kernel's own: it stays denied
        pass
    finally:
        os.close(place)
