"""The user's folder at its own path, with all writes kept apart: an overlay in the trial's own mount namespace.

It needs no privilege if the kernel allows user namespaces (Linux 5.11 or newer). Everything a trial writes, by any
path, ends up in the ``upper`` folders. ``__file__``, arguments and working folder are the user's.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from relume.lab.trials import kernel
from relume.lab.trials.sandbox import Sandbox, files_below, is_same

_OPAQUE = "user.overlay.opaque"


class Overlay(Sandbox):
    """A sandbox whose files have the same paths as the user's."""

    @property
    def base(self) -> Path:
        """The root itself."""
        return self.root

    def enter(self) -> None:
        """Mount it; mounts below the root get overlays too."""
        kernel.demand_cuda_began()
        layers = self._layers()
        for top, layer in layers:
            os.makedirs(f"{layer}/upper")
            os.mkdir(f"{layer}/work")
            shutil.copystat(top, f"{layer}/upper")
            os.setxattr(f"{layer}/upper", "user.relume", b"")  # without such attributes a folder cannot be replaced
        for path in sorted(self.hidden):
            _hide(path, layers)
        _enter_namespaces()
        lower = [os.open(top, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC) for top, _ in layers]
        for (top, layer), folder in zip(layers, lower, strict=True):
            options = f"lowerdir=/proc/self/fd/{folder},upperdir={layer}/upper,workdir={layer}/work,userxattr"
            kernel.mount("overlay", top, "overlay", options=options)
            os.close(folder)
        os.chdir(self.cwd)  # the same path was another folder before
        if os.access(self.folder, os.W_OK):
            tempfile.TemporaryFile(dir=self.folder).close()  # fails if the folder is another user's
        _let_rename_folders(f"{self.root}/")

    def changed(self) -> Iterator[tuple[str, int]]:
        """Read from the upper folders; a whiteout there is a device 0 and marks a removed file."""
        for top, layer in self._layers():
            upper = f"{layer}/upper"
            for folder, subfolders, files in os.walk(upper):
                subfolders[:] = [name for name in subfolders if name != "__pycache__"]
                there = f"{top}{folder[len(upper) :]}"
                if folder != upper and _is_opaque(folder):
                    yield from (
                        (each, 0) for each in files_below(there) if not os.path.lexists(upper + each[len(top) :])
                    )
                for name in (*files, *(name for name in subfolders if os.path.islink(f"{folder}/{name}"))):
                    path, found = f"{there}/{name}", os.lstat(f"{folder}/{name}")
                    if stat.S_ISCHR(found.st_mode) and found.st_rdev == 0:
                        yield from ((each, 0) for each in files_below(path) if path not in self.hidden)
                    elif not os.path.lexists(path) or not is_same(found, os.lstat(path)):
                        yield path, found.st_size

    def _layers(self) -> list[tuple[str, str]]:
        """Each mounted folder, and the folder for its writes."""
        tops = [str(self.root), *_mounts_below(str(self.root))]
        return [(top, f"{self.work}/layer{number}") for number, top in enumerate(tops)]


def _mounts_below(root: str) -> list[str]:
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        points = [re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), line.split()[4]) for line in file]
    return sorted({point for point in points if point.startswith(f"{root.rstrip('/')}/")})


def _hide(path: str, layers: list[tuple[str, str]]) -> None:
    """Put a whiteout above a path, in folders that are as those below."""
    top, layer = next(each for each in reversed(layers) if f"{path}/".startswith(f"{each[0]}/"))
    if path == top or not os.path.lexists(path):
        return
    upper = Path(layer, "upper")
    *above, name = Path(path).relative_to(top).parts
    with contextlib.suppress(NotADirectoryError, FileExistsError):  # something above it is hidden
        for part in above:
            upper, top = upper / part, f"{top}/{part}"
            if not upper.is_dir():
                upper.mkdir()
        os.mknod(upper / name, stat.S_IFCHR, 0)
        while upper.name != "upper" or upper.parent != Path(layer):
            shutil.copystat(top, upper)
            upper, top = upper.parent, os.path.dirname(top)
        shutil.copystat(top, upper)


def _enter_namespaces() -> None:
    """Only a mount namespace if that is allowed, as a user namespace would end the super-user's rights."""
    user, group = os.geteuid(), os.getegid()
    try:
        kernel.unshare(kernel.NAMESPACE_OF_MOUNTS)
    except PermissionError:
        kernel.unshare(kernel.NAMESPACE_OF_MOUNTS | kernel.NAMESPACE_OF_USERS)
        for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
            Path("/proc/self", name).write_text(text, encoding="ascii")
    kernel.mount("none", "/", flags=kernel.RECURSIVE | kernel.PRIVATE)


def _is_opaque(folder: str) -> bool:
    try:
        return os.getxattr(folder, _OPAQUE) == b"y"
    except OSError:
        return False


def _let_rename_folders(root: str) -> None:
    """An unprivileged overlay does not rename an existing folder: copy it, as ``mv`` does."""

    def copying(own: Any) -> Any:
        @functools.wraps(own)
        def rename(src: Any, dst: Any, **folders: Any) -> None:
            try:
                own(src, dst, **folders)
            except OSError as error:
                paths = [os.path.realpath(os.fsdecode(path)) for path in (src, dst)]
                within = not folders and all(path.startswith(root) for path in paths)
                if error.errno != errno.EXDEV or not within or not os.path.isdir(paths[0]):
                    raise
                if os.path.isdir(paths[1]):
                    os.rmdir(paths[1])
                shutil.copytree(paths[0], paths[1], symlinks=True)
                shutil.rmtree(paths[0])

        return rename

    for name in ("rename", "replace"):
        setattr(os, name, copying(getattr(os, name)))
