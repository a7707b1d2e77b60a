"""A trial's output: stdout, which has its metrics, and stderr, separate while it runs and one log afterwards."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path


def redirect(stdout: str, stderr: str) -> None:
    """Give this process an empty stdin, and redirect its output to these files."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    files = [os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o666) for path in (stdout, stderr)]
    opened = [nothing, *files]
    for source, target in zip(opened, range(3), strict=True):
        os.dup2(source, target)
    for each in {*opened} - {0, 1, 2}:
        os.close(each)


def join(log: Path, stderr: Path) -> None:
    """Put stderr at the end of the log."""
    with contextlib.suppress(OSError), stderr.open("rb") as errors, log.open("ab") as file:
        shutil.copyfileobj(errors, file)
