"""Run a script, or a module, as the interpreter would: argv, ``__main__``, sys.path, tracebacks, exit status."""

from __future__ import annotations

import builtins
import importlib.machinery
import importlib.util
import io
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, ModuleType, TracebackType
from typing import NoReturn

from relume.errors import ScriptError

_OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


@dataclass(frozen=True)
class Program:
    """What is to be run: the code, and what ``__main__`` and sys see of it."""

    name: str
    code: CodeType
    file: str
    argv: list[str]
    package: str | None
    spec: importlib.machinery.ModuleSpec | None


def load_script(script: str, args: Sequence[str]) -> Program:
    """The program of ``python SCRIPT ARGS``.

    Raises: ScriptError: absent, a folder without ``__main__.py``, or not Python source.
    """
    path = Path(script) / "__main__.py" if os.path.isdir(script) else Path(script)
    if not path.is_file():
        raise ScriptError(
            f"There is no script {script}. Give the file that you would give to python; a module is run with -m MODULE.",
            slug="script-absent",
        )
    file = os.path.abspath(path)
    with io.open_code(file) as source:
        code = _compile(source.read(), file, script)
    _put_first(os.path.dirname(file))
    return Program(script, code, file, [script, *args], None, None)


def load_module(module: str, args: Sequence[str]) -> Program:
    """The program of ``python -m MODULE ARGS``.

    Raises: ScriptError: there is no such module, or it has no source to run.
    """
    _put_first(os.getcwd())
    spec = _find(module)
    if spec is not None and spec.submodule_search_locations is not None:
        spec = _find(f"{module}.__main__")
    loader = spec.loader if spec is not None else None
    code = loader.get_code(spec.name) if spec is not None and hasattr(loader, "get_code") else None
    if spec is None or code is None or spec.origin is None:
        raise ScriptError(
            f"There is no module {module} to run. Give a name that `python -m` would take; a file is run without -m.",
            slug="module-absent",
        )
    return Program(module, code, spec.origin, [spec.origin, *args], spec.name.rpartition(".")[0], spec)


def _put_first(folder: str) -> None:
    """The script's folder takes the place on sys.path where that of the ``relume`` command stood."""
    if not sys.flags.safe_path:
        sys.path[0] = folder


def _find(module: str) -> importlib.machinery.ModuleSpec | None:
    try:
        return importlib.util.find_spec(module)
    except (ImportError, AttributeError, ValueError):
        return None


def _compile(text: bytes, path: str, script: str) -> CodeType:
    try:
        return compile(text, path, "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        raise ScriptError(
            f"{script} is not Python that this interpreter can run ({error.args[0]}{line}). "
            f"`{Path(sys.executable).name} {script}` says the same.",
            slug="script-not-python",
        ) from error


def run(program: Program) -> int:
    """Run it to its end, threads included; returns its exit status, its traceback is printed.

    A status above 256 is 256 + the signal that the program would have died of.
    """
    main = _become(program)
    status = 0
    try:
        exec(program.code, main.__dict__)
    except SystemExit as leave:
        status = _exit_status(leave)
    except KeyboardInterrupt as error:
        _show(error)
        status = 256 + signal.SIGINT
    except BaseException as error:  # noqa: BLE001 - the interpreter prints it and exits 1: so do we
        _show(error)
        status = 1
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    return status


def before_hard_exit(tell: Callable[[], None]) -> None:
    """Call ``tell`` before an ``os._exit`` of this process, which runs no handler of Python's."""
    process, own = os.getpid(), os._exit

    def _exit(status: int) -> NoReturn:
        if os.getpid() == process:
            tell()
        own(status)

    os._exit = _exit


def leave(status: int) -> None:
    """Exit with a status that :func:`run` returned."""
    if status > 256:
        signal.signal(status - 256, signal.SIG_DFL)
        os.kill(os.getpid(), status - 256)
    sys.exit(status)


def _become(program: Program) -> ModuleType:
    """Make ``__main__`` and sys.argv what the program would find."""
    main = ModuleType("__main__")
    main.__dict__.update(
        __builtins__=builtins,
        __file__=program.file,
        __package__=program.package,
        __spec__=program.spec,
        __loader__=program.spec.loader
        if program.spec is not None
        else importlib.machinery.SourceFileLoader("__main__", program.file),
        __cached__=program.spec.cached if program.spec is not None else None,
    )
    sys.modules["__main__"] = main
    sys.argv[:] = program.argv
    return main


def _exit_status(leave: SystemExit) -> int:
    if leave.code is None:
        return 0
    if isinstance(leave.code, int):
        return leave.code & 0xFF
    print(leave.code, file=sys.stderr)
    return 1


def _show(error: BaseException) -> None:
    """Print an uncaught error as the interpreter would, without our frames."""
    trace = _without_ours(error.__traceback__)
    error.__traceback__ = trace
    sys.excepthook(type(error), error, trace)


def _without_ours(trace: TracebackType | None) -> TracebackType | None:
    """The frames of a traceback that are not relume's, nor torch's way to them."""
    kept = []
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        following = trace.tb_next.tb_frame.f_code.co_filename if trace.tb_next is not None else ""
        way_to_us = name.endswith(os.path.join("torch", "overrides.py")) and following.startswith(_OURS)
        if not name.startswith(_OURS) and not way_to_us:
            kept.append(trace)
        trace = trace.tb_next
    clean = None
    for entry in reversed(kept):
        clean = TracebackType(clean, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
    return clean
