"""A framework in a process of its own, which answers as often as it is asked: pytest's own process need not load it.

``serve_<framework>.py`` is the child: it defines functions and ends with ``workers.serve(globals())``. Questions and
answers are pickles with NumPy arrays, over the child's stdin and stdout.
"""

from __future__ import annotations

import atexit
import os
import pickle
import struct
import subprocess
import sys
import traceback
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

HERE = Path(__file__).parent
QUIET = {"CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0", "JAX_PLATFORMS": "cpu"}


class Worker:
    """One child process; ``ask`` calls a function of its script."""

    def __init__(self, script: str, **environment: str) -> None:
        self._child = subprocess.Popen(
            [sys.executable, "-W", "ignore", str(HERE / script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | QUIET | environment,
        )
        atexit.register(self.end)

    def ask(self, function: str, *arguments: Any, **keywords: Any) -> Any:
        """The function's result; its exception is raised here as a RuntimeError with the child's traceback."""
        _write(self._child.stdin, (function, arguments, keywords))
        good, answer = _read(self._child.stdout)
        if not good:
            raise RuntimeError(answer)
        return answer

    def end(self) -> None:
        """Close its stdin, upon which it ends."""
        self._child.stdin.close()
        self._child.wait(60)
        self._child.stdout.close()


@cache
def worker(script: str, **environment: str) -> Worker:
    """The one worker of this kind."""
    return Worker(script, **environment)


def serve(functions: dict[str, Any]) -> None:
    """Answer until stdin ends. What else is printed goes to stderr."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    while (question := _read(sys.stdin.buffer, at_end=None)) is not None:
        name, arguments, keywords = question
        try:
            answer = (True, functions[name](*arguments, **keywords))
        except Exception:  # noqa: BLE001  # it goes to who asked
            answer = (False, traceback.format_exc())
        _write(answers, answer)


def _write(stream: BinaryIO, message: Any) -> None:
    data = pickle.dumps(message)
    stream.write(struct.pack("<Q", len(data)) + data)
    stream.flush()


def _read(stream: BinaryIO, **default: Any) -> Any:
    head = stream.read(8)
    if len(head) < 8:
        if "at_end" in default:
            return default["at_end"]
        raise RuntimeError("the worker has ended; its stderr says why")
    return pickle.loads(stream.read(struct.unpack("<Q", head)[0]))
