"""Which sandbox this machine allows: the first of three that a forked process could enter."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from relume.lab.trials.mirror import LockedMirror, Mirror
from relume.lab.trials.overlay import Overlay
from relume.lab.trials.sandbox import Sandbox, remove

WAYS: tuple[type[Sandbox], ...] = (Overlay, LockedMirror, Mirror)
"""From the most capable to the one that needs nothing from the kernel."""


class Isolation:
    """Makes the sandboxes that this machine allows; tried once per folder.

    Args:
        ways: to try, in this order; :data:`WAYS` by default.
    """

    def __init__(self, ways: Sequence[type[Sandbox]] | None = None) -> None:
        self._asked = ways
        self._ways: dict[Path, tuple[type[Sandbox], str]] = {}

    def sandbox(self, work: Path, folder: Path, hidden: Iterable[str | Path], script: str) -> Sandbox:
        """The sandbox of a trial, for its process to enter; see :meth:`Sandbox.of`.

        Raises: OSError: nothing protects the user's files here; says why.
        """
        if folder not in self._ways:
            self._ways[folder] = self._choose(work.with_name("attempt"), folder, hidden, script)
        return self._ways[folder][0].of(work, folder, hidden, script)

    def caution(self, folder: Path) -> str:
        """What the sandboxes of a folder cannot do and why, as a sentence for the user; "" for nothing."""
        way, reasons = self._ways[folder]
        return f"{way.caution} ({reasons})" if reasons else ""

    def _choose(self, work: Path, *given: Path | Iterable[str | Path] | str) -> tuple[type[Sandbox], str]:
        reasons: list[str] = []
        for way in WAYS if self._asked is None else self._asked:
            trouble = _try(way.of(work, *given))  # type: ignore[arg-type]
            if not trouble:
                return way, "; ".join(reasons)
            reasons.append(trouble)
        raise OSError("; ".join(reasons))


def _try(sandbox: Sandbox) -> str:
    """Enter it in a separate process, again if that is killed; returns what went wrong."""
    for _ in range(_TRIES):
        ours, theirs = os.pipe()
        child = os.fork()
        if child == 0:
            os.write(theirs, _entered(sandbox).encode()[:_LONGEST])
            os._exit(0)
        os.close(theirs)
        with open(ours, "rb") as said:
            trouble = said.read().decode(errors="replace")
        _, status = os.waitpid(child, 0)
        remove(sandbox.work)
        if status == 0:
            return trouble
    return f"{type(sandbox).__name__}: killed"


_TRIES = 3
_LONGEST = 4_000


def _entered(sandbox: Sandbox) -> str:
    try:
        sandbox.enter()
    except BaseException as error:  # noqa: BLE001 - whatever it is, this way cannot be gone
        return f"{type(sandbox).__name__}: {error}"
    return ""
