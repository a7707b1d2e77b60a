"""Which rank of a distributed training this process is, by the environment that its launcher gave it."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Launch:
    """How this process was started.

    Attributes:
        rank: 0 for the first, and if there is one process only. ``ranks``: how many there are.
        run_id: the same in all ranks of one start, different in each start; it reveals nothing of the environment.
    """

    rank: int
    ranks: int
    run_id: str


def launched(environ: Mapping[str, str]) -> Launch:
    """Read ``RANK`` and ``WORLD_SIZE``, which torchrun, accelerate and others set.

    The ranks cannot ask each other, so their common name is made of what they all know.
    """
    try:
        rank, ranks = int(environ["RANK"]), int(environ["WORLD_SIZE"])
    except (KeyError, ValueError):
        rank, ranks = 0, 1
    if not 0 <= rank < ranks or ranks == 1:
        return Launch(0, 1, secrets.token_hex(8))
    names = ("TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT", "MASTER_ADDR", "MASTER_PORT", "WORLD_SIZE")
    known = [environ.get(name, "") for name in names]
    if environ.get("LOCAL_WORLD_SIZE") == environ["WORLD_SIZE"]:  # one machine, and so one launcher
        known.append(_launcher(environ))
    return Launch(rank, ranks, hashlib.sha256("\n".join(known).encode()).hexdigest()[:16])


def _launcher(environ: Mapping[str, str]) -> str:
    """Identifies a start of the launcher: torchrun's folder for this attempt, or the process itself."""
    errors = environ.get("TORCHELASTIC_ERROR_FILE")
    if errors:  # …/<this start>/attempt_0/<local rank>/error.json
        return str(Path(errors).parent.parent)
    parent = os.getppid()
    try:  # its start, in ticks since the machine's: process numbers come again
        started = Path(f"/proc/{parent}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        started = ""
    return f"{parent} {started}"
