"""Run a script, or a module, as the interpreter would: argv, ``__main__``, sys.path, tracebacks, exit status."""

from __future__ import annotations

import atexit
import builtins
import contextlib
import importlib.machinery
import io
import os
import runpy
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, ModuleType, TracebackType
from typing import NoReturn, TypeVar

from relume.errors import ScriptError

_OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_OVERRIDES = os.path.join("torch", "overrides.py")
_T = TypeVar("_T")


@dataclass(frozen=True)
class LoadedScript:
    """The program to run: its code, and its view of ``__main__`` and sys."""

    code: CodeType
    file: str
    argv: list[str]
    spec: importlib.machinery.ModuleSpec | None


def load_script(script: str, args: Sequence[str]) -> LoadedScript:
    """The program of ``python SCRIPT ARGS``: a file, or a folder or an archive with a ``__main__.py``.

    Raises: ScriptError: absent, a folder without ``__main__.py``, or not Python source.
    """
    file = os.path.join(os.getcwd(), script)  # as python has it: absolute, not normalized
    argv = [script, *args]
    spec = importlib.machinery.PathFinder.find_spec("__main__", [file])
    if spec is not None and spec.origin is not None:
        code = _compiled(script, lambda: _code_of(spec), SyntaxError, ValueError)
        _put_first(file)
        return LoadedScript(code, spec.origin, argv, spec)
    if not os.path.exists(file) or os.path.isdir(file):
        raise ScriptError(
            f"There is no script {script}. Give the file that you would give to python; to run a module use -m MODULE.",
            slug="script-absent",
        )
    source = _source(script, file)
    code = _compiled(script, lambda: compile(source, file, "exec", dont_inherit=True), SyntaxError, ValueError)
    _put_first(os.path.dirname(os.path.realpath(file)))
    return LoadedScript(code, file, argv, None)


def load_module(module: str, args: Sequence[str]) -> LoadedScript:
    """The program of ``python -m MODULE ARGS``; the packages above it are imported here.

    Raises: ScriptError: there is no such module, or it has no source to run.
    """
    _put_first(os.getcwd())
    sys.argv[:] = ["-m", *args]
    try:  # what `python -m` and pdb use; it is no public name
        _, spec, code = _compiled(module, lambda: runpy._get_module_details(module, _NoModule), SyntaxError)  # type: ignore[attr-defined]
    except _NoModule as error:
        raise ScriptError(
            f"There is no module {module} to run ({error}). Give a name that `python -m` accepts; to run a file leave "
            "out -m.",
            slug="module-absent",
        ) from error
    except ScriptError:
        raise
    except BaseException as error:  # noqa: BLE001 - a package above it failed: the program is over
        leave(_end(error))
    return LoadedScript(code, spec.origin, [spec.origin, *args], spec)


class _NoModule(Exception):
    """``python -m`` would find nothing to run."""


def _put_first(folder: str) -> None:
    """The script's folder replaces that of the ``relume`` command on sys.path."""
    if not sys.flags.safe_path:
        sys.path[0] = folder


def _code_of(spec: importlib.machinery.ModuleSpec) -> CodeType:
    code: CodeType = spec.loader.get_code(spec.name)  # type: ignore[union-attr]
    return code


def _source(script: str, file: str) -> bytes:
    try:
        with io.open_code(file) as source:
            return source.read()
    except OSError as error:
        raise ScriptError(f"Cannot read the script {script}: {error.strerror}.", slug="script-absent") from error


def _compiled(script: str, work: Callable[[], _T], *refusals: type[Exception]) -> _T:
    """Do the work; one of these refusals says that it is no Python."""
    try:
        return work()
    except refusals as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        raise ScriptError(
            f"{script} is not valid Python for this interpreter ({error.args[0]}{line}). "
            f"`{Path(sys.executable).name} {script}` shows the same error.",
            slug="script-not-python",
        ) from error


def run(program: LoadedScript) -> int:
    """Run it to its end, threads included; returns its exit status, its traceback is printed.

    A status above 256 is 256 + the signal that the program would have died of.
    """
    main = _become(program)
    _give_way(sys.path[0])
    try:
        exec(program.code, main.__dict__)
    except BaseException as error:  # noqa: BLE001 - the interpreter prints it and exits: so do we
        status = _end(error)
    else:
        status = 0
    try:
        threading._shutdown()  # type: ignore[attr-defined]  # as at the interpreter's end: idle pools would never join
    except BaseException as error:  # noqa: BLE001 - as above, but too late to alter the status
        _end(error)
    for stream in (sys.stdout, sys.stderr):  # what we say comes after it
        with contextlib.suppress(Exception):
            stream.flush()
    return status


@contextlib.contextmanager
def own_imports(places: list[str]) -> Iterator[None]:
    """Import from these places, and with the modules that gave way: the script's folder may hold a rich.py."""
    path, modules = sys.path[:], {name: sys.modules.get(name) for name in _gave_way}
    sys.path[:] = places
    sys.modules.update(_gave_way)
    try:
        yield
    finally:
        sys.path[:] = path
        for name, module in modules.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module


_gave_way: dict[str, ModuleType] = {}


def _give_way(folder: str) -> None:
    """Drop imported modules that the script's folder also has: python would import the script's."""
    try:
        there = os.listdir(folder)  # shorter than the loaded modules, which a forked process should not touch
    except OSError:  # an archive
        there = list(sys.modules)
    for name in {name.partition(".")[0] for name in there} - {"__main__", "encodings", "numpy", "relume"}:
        spec = getattr(sys.modules.get(name), "__spec__", None)
        if spec is None or not spec.has_location:  # built in or frozen: found before any folder
            continue
        theirs = importlib.machinery.PathFinder.find_spec(name, [folder])
        if theirs is not None and theirs.has_location and theirs.origin != spec.origin:
            ours = [n for n in sys.modules if n == name or n.startswith(f"{name}.")]
            _gave_way.update((n, sys.modules.pop(n)) for n in ours)


def before_hard_exit(tell: Callable[[int], None]) -> Callable[[], None]:
    """Call ``tell`` with the status before an ``os._exit`` of this process, which runs no handler of Python's.

    Returns: what takes that back.
    """
    process, own = os.getpid(), os._exit

    def _exit(status: int) -> NoReturn:
        if os.getpid() == process:
            tell(status)
        own(status)

    def forget() -> None:
        os._exit = own

    os._exit = _exit
    return forget


def leave(status: int) -> NoReturn:
    """Exit with a status that :func:`run` returned."""
    if status > 256:
        atexit._run_exitfuncs()  # a death by signal skips the interpreter's own end
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        signal.signal(status - 256, signal.SIG_DFL)
        os.kill(os.getpid(), status - 256)
    sys.exit(status)


def _become(program: LoadedScript) -> ModuleType:
    """Make ``__main__`` and sys.argv what the program would find."""
    main, spec = ModuleType("__main__"), program.spec
    loader = importlib.machinery.SourceFileLoader("__main__", program.file) if spec is None else spec.loader
    main.__dict__.update(
        __annotations__={},
        __builtins__=builtins,
        __file__=program.file,
        __package__=None if spec is None else spec.parent,
        __spec__=spec,
        __loader__=loader,
        __cached__=None if spec is None else spec.cached,
    )
    sys.modules["__main__"] = main
    sys.argv[:] = program.argv
    return main


def _end(error: BaseException) -> int:
    """Say an uncaught error as the interpreter would, without our frames; returns the exit status."""
    if isinstance(error, SystemExit):
        return _exit_status(error)
    for each in _chain(error):
        each.__traceback__ = _without_ours(each.__traceback__)
    sys.last_type, sys.last_value, sys.last_traceback = type(error), error, error.__traceback__
    try:
        sys.excepthook(type(error), error, error.__traceback__)
    except SystemExit as leaving:
        return _exit_status(leaving)
    except BaseException as failure:  # noqa: BLE001 - the user's hook failed
        failure.__traceback__ = _without_ours(failure.__traceback__)
        failure.__context__ = None
        _print("Error in sys.excepthook:")
        sys.__excepthook__(type(failure), failure, failure.__traceback__)
        _print("\nOriginal exception was:")
        sys.__excepthook__(type(error), error, error.__traceback__)
    return 256 + signal.SIGINT if type(error) is KeyboardInterrupt else 1


def _exit_status(leaving: SystemExit) -> int:
    if leaving.code is None:
        return 0
    if isinstance(leaving.code, int):
        return leaving.code & 0xFF
    _print(leaving.code)
    return 1


def _print(what: object) -> None:
    if sys.stderr is not None:
        with contextlib.suppress(OSError, ValueError):
            print(what, file=sys.stderr)


def _chain(error: BaseException) -> list[BaseException]:
    """An error, those that it came from, and those that it groups."""
    found: list[BaseException] = []
    ahead = [error]
    while ahead:
        each = ahead.pop()
        if all(each is not other for other in found):
            found.append(each)
            grouped = each.exceptions if isinstance(each, BaseExceptionGroup) else ()
            ahead += [e for e in (each.__cause__, each.__context__, *grouped) if e is not None]
    return found


def _without_ours(trace: TracebackType | None) -> TracebackType | None:
    """A traceback without the frames of relume, and without torch's detour to them.

    A function of torch that a mode is to see calls ``torch.overrides``, that calls us, and we call the function again.
    """
    kept: list[TracebackType] = []
    detour = False
    while trace is not None:
        if _code(trace).co_filename.startswith(_OURS):
            detour = detour or (bool(kept) and _code(kept[-1]).co_filename.endswith(_OVERRIDES))
        else:
            if detour:
                again = [n for n, entry in enumerate(kept) if _code(entry) is _code(trace)]
                del kept[again[-1] if again else -1 :]
            detour = False
            kept.append(trace)
        trace = trace.tb_next
    if detour:
        del kept[-1]
    clean = None
    for entry in reversed(kept):
        clean = TracebackType(clean, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
    return clean


def _code(entry: TracebackType) -> CodeType:
    return entry.tb_frame.f_code
