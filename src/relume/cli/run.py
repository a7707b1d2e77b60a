"""``relume run``: be python, and watch."""

from __future__ import annotations

import contextlib
import functools
import shlex
import sys
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, TextIO

import click

from relume.cli._share import Share

if TYPE_CHECKING:
    from relume.cli._status import Status


@click.command("run", context_settings={"allow_interspersed_args": False})
@click.option("-m", "is_module", is_flag=True, help="SCRIPT is a module, as in python -m.")
@click.option("--out", default="run.relume", show_default=True, metavar="FILE", help="The recording to write.")
@click.option(
    "--budget",
    type=Share("the step time", "2% or 0.02"),
    default="2%",
    show_default=True,
    help="Share of step time watching may cost.",
)
@click.option("--window", type=click.IntRange(min=1), metavar="N", help="Steps in a window; default: 1,000 examples.")
@click.option("--every", type=click.IntRange(min=1), metavar="K", help="Look at each K-th step instead of by budget.")
@click.option("-q", "--quiet", is_flag=True, help="Write the recording, print nothing.")
@click.argument("script")
@click.argument("args", nargs=-1, type=click.UNPROCESSED)
def command(
    is_module: bool,
    out: str,
    budget: float,
    window: int | None,
    every: int | None,
    quiet: bool,
    script: str,
    args: tuple[str, ...],
) -> None:
    """Run SCRIPT unchanged, watch its activations, and write a recording.

    What stands behind SCRIPT belongs to it. All that relume says goes to stderr; the exit status is the script's.
    """
    from relume.artifacts.writer import RecordingWriter
    from relume.framework import FRAMEWORKS
    from relume.observe.observer import Observer
    from relume.runner import imports
    from relume.runner.script import before_hard_exit, leave, load_module, load_script, run

    path = Path(out).absolute()  # the script may change the folder
    places = [*sys.path[1:], sys.path[0]]
    program = load_module(script, args) if is_module else load_script(script, args)
    status_line = _status_line(quiet, literal=window is not None)
    observer = Observer(
        RecordingWriter(path),
        budget=budget,
        window=window,
        every=every,
        complain=functools.partial(_complain, status_line),
        progress=status_line,
    )
    observer.writer.meta(script=_without_folders(script), argv=[_without_folders(arg) for arg in args])
    for framework in FRAMEWORKS:
        if framework.probe is not None:
            imports.after_import(framework.package, functools.partial(observer.start, framework))
    ended = _Ending(observer, status_line, path, out, quiet, places)
    before_hard_exit(ended)
    status = run(program)
    ended(status)
    leave(status)


class _Ending:
    """The end of the watching, which comes once, in the process that began it, however the script ends."""

    def __init__(
        self, observer: Any, status_line: Status | None, path: Path, shown: str, quiet: bool, places: list[str]
    ) -> None:
        import os

        self._observer = observer
        self._status_line = status_line
        self._path = path
        self._shown = shown
        self._quiet = quiet
        self._places = places
        self._process = os.getpid()

    def __call__(self, status: int) -> None:
        import os

        from relume.runner.script import own_imports

        if os.getpid() != self._process:
            return
        self._process = -1
        if self._status_line is not None:
            self._status_line.close()
        try:
            self._observer.finish(exit=status if status <= 256 else 256 - status, unwatched=_unwatched())
            if not self._quiet and sys.__stderr__ is not None:
                with own_imports(self._places):
                    self._summary(sys.__stderr__)
        except Exception as error:  # noqa: BLE001 - the script's status is what counts
            text = f"{type(error).__name__}: {error}"
            _say(f"relume: the report failed ({text}); the script is not affected. [own-fault]")

    def _summary(self, to: TextIO) -> None:
        from rich.console import Console

        from relume.artifacts.reader import read
        from relume.doctor.diagnosis import diagnose
        from relume.reports import terminal

        findings = diagnose(read(self._path))
        following = f"relume report {shlex.quote(self._shown)} --json" if findings.sites else None
        console = Console(file=to)
        with console.capture() as said:  # rich itself would close stdout where stderr has no reader
            console.print()
            console.rule(f"relume → {self._shown}", align="left", style="dim")
            console.print(terminal.render(findings, following))
        _say(said.get(), end="")


def _status_line(quiet: bool, *, literal: bool) -> Status | None:
    """The line at the foot of the terminal, where there is a person to read it."""
    import os

    from relume.cli._status import Status, wanted

    if quiet or sys.__stderr__ is None or not wanted(sys.__stderr__, os.environ):
        return None
    return Status(sys.__stderr__.fileno(), literal=literal)


def _complain(status_line: Status | None, text: str) -> None:
    """Say that the watching has ended; nothing more will be drawn."""
    if status_line is not None:
        status_line.close()
    _say(text)


def _without_folders(argument: str) -> str:
    """An argument as a recording may hold it: of an absolute path, also behind ``=``, the last part alone."""
    option, equals, value = argument.rpartition("=")
    return f"{option}{equals}{PurePath(value).name}" if PurePath(value).is_absolute() else argument


def _unwatched() -> str | None:
    """The framework that the script loaded and relume does not watch, where it is the only one."""
    from relume.framework import FRAMEWORKS

    loaded = [f for f in FRAMEWORKS if f.package in sys.modules]
    if any(f.probe is not None for f in loaded) or not loaded:
        return None
    return loaded[0].name


def _say(text: str, end: str = "\n") -> None:
    """Write to the process's stderr, past its buffer: what stays in there unread would spoil the exit status."""
    stream = sys.__stderr__
    if stream is not None:
        with contextlib.suppress(OSError, ValueError):  # closed, or nobody listens any more
            stream.flush()
            with open(stream.fileno(), "w", encoding=stream.encoding, errors="backslashreplace", closefd=False) as past:
                past.write(text + end)
