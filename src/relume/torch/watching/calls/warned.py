"""Warnings of PyTorch name the user's line, even with a frame of ours between.

PyTorch attributes a warning to the frame that called it, which in a look is the mode's. Such a one is issued again at
the frame that would have been named without us, so that the user's filters and "once a line" hold for it.
"""

from __future__ import annotations

import sys
import warnings
from types import FrameType
from typing import Any


class Warned:
    """Stands in for ``warnings.showwarning`` while the mode is on the stack. ``file``: where the mode's frames are."""

    def __init__(self, file: str, module_globals: dict[str, Any]) -> None:
        self._file = file
        self._globals = module_globals
        self._shown: Any = None

    def begin(self) -> None:
        """Take the place."""
        if warnings.showwarning != self._show:
            self._shown = warnings.showwarning
            warnings.showwarning = self._show

    def end(self) -> None:
        """Give it back, unless the script has put something else there."""
        if warnings.showwarning == self._show:
            warnings.showwarning = self._shown

    def _show(self, message: Any, category: Any, filename: str, lineno: int, *rest: Any, **named: Any) -> None:
        frame = self._named_without_us(sys._getframe(1)) if filename == self._file else None
        if frame is None:
            self._shown(message, category, filename, lineno, *rest, **named)
            return
        self._globals.pop("__warningregistry__", None)  # "once a line" is not about our line
        there = frame.f_globals
        registry = there.setdefault("__warningregistry__", {})
        where = (frame.f_code.co_filename, frame.f_lineno, there.get("__name__"))
        warnings.warn_explicit(message, category, *where, registry=registry)

    def _named_without_us(self, frame: FrameType | None) -> FrameType | None:
        """Find the caller of the call: outside our frames, and outside the function that handed itself to the mode."""
        while frame is not None and frame.f_code.co_filename != self._file:
            frame = frame.f_back
        while frame is not None and frame.f_code.co_filename == self._file:
            frame = frame.f_back
        if frame is not None and frame.f_code.co_name == "handle_torch_function" and frame.f_back is not None:
            frame = frame.f_back.f_back
        return frame
