"""The processes of a run: the first, its ranks, and their children. Each one that trains has its own recording.

The first process and the ranks are watched from the beginning. A child is not: it waits for the first sign of
training, and what never trains leaves no file. Until its first step is over, a child's recording is in memory.
"""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from relume.framework import FRAMEWORKS, Framework
from relume.runner.children import Children, Passenger
from relume.runner.imports import after_import


@dataclass(frozen=True)
class Post:
    """A process's place in its run, and how it is watched: all that a spawned child gets.

    Attributes:
        first: the run's first file, absolute. ``roles``: the way from there: ("rank1", "child2").
        options: keywords of :class:`~relume.observe.observer.Observer`.
        facts: what all recordings of the run have in common.
        cures: (swaps, treatments) of :class:`~relume.framework.Cures`, both empty if the script runs as it is.
    """

    first: str
    roles: tuple[str, ...]
    options: Mapping[str, Any]
    facts: Mapping[str, Any]
    cures: tuple[Sequence[Any], Sequence[Any]] = ((), ())

    def file(self) -> Path:
        """This process's recording."""
        from relume.artifacts.parts import beside

        return beside(Path(self.first), *self.roles)

    def of_child(self, number: int) -> Post:
        """The place of the n-th process that this one starts."""
        return replace(self, roles=(*self.roles, f"child{number}"))


class Process:
    """The watching of this process, and of those that it starts."""

    def __init__(self, post: Post, complain: Callable[[str], None]) -> None:
        self.post: Post | None = post
        self.observer: Any = None
        self._complain = complain
        self._process = os.getpid()
        self._failed = False
        self._asked = post.cures
        self._cures: dict[str, Any] = {}  # by framework; a forked child has its parent's, which work there too
        self._untreated = "the script does not train with PyTorch, Keras or JAX, whose training relume run can change"
        self._children = Children(self._forked, self._luggage)

    def begin(self, ranks: int, **extra: Any) -> None:
        """Watch this process from now on, and its children; ``extra``: only for this process's observer.

        Raises: RecordingError: its recording cannot be written.
        """
        from relume.artifacts.beginning import clear, fact
        from relume.artifacts.writer import RecordingWriter

        assert self.post is not None
        path = self.post.file()
        replaced = fact(path, "run_id")
        self._observe(RecordingWriter(path), **extra)
        clear(path, ranks, replaced, self.post.facts["run_id"])
        if ranks > 1:
            self.observer.writer.meta(ranks=ranks)
        self._children.follow()
        self._attend()

    def wait(self) -> None:
        """Watch this process, a spawned child, as soon as it trains."""
        self._children.follow()
        self._attend()

    def end(self, status: int | None = None, **facts: Any) -> None:
        """End the recording, if there is one; the second time this does nothing."""
        observer, self.observer = self.observer, None
        if observer is not None:
            if any(self._asked):
                facts["cures"] = self._cured()
            observer.finish(**facts, **({} if status is None else {"exit": status}))

    @property
    def is_first(self) -> bool:
        """Whether this is the process that began, and no forked child of it."""
        return os.getpid() == self._process

    # ---- this process ----------------------------------------------------------------------------------------------

    def _observe(self, writer: Any, **extra: Any) -> None:
        from relume.observe.observer import Observer

        assert self.post is not None
        self.observer = Observer(writer, **self.post.options, **extra, complain=self._complain)
        self.observer.writer.meta(**self.post.facts)

    def _attend(self) -> None:
        for framework in FRAMEWORKS:
            if framework.probe is not None:
                after_import(framework.package, partial(self._imported, framework))

    def _treat(self, framework: Framework) -> None:
        """Apply the changes that were requested besides the watching."""
        if not any(self._asked) or framework.package in self._cures or framework.cures is None:
            return
        try:
            cures = framework.load_cures()(*self._asked)
            cures.start()
            self._cures[framework.package] = cures
        except Exception as error:  # noqa: BLE001 - the script continues unchanged, and the recording says so
            self._untreated = f"not applied: {type(error).__name__}: {error}"
            self._complain(f"relume: the requested change was not applied; the script runs unchanged. {error}")

    def _cured(self) -> dict[str, Any]:
        """What became of it, for the recording."""
        if not self._cures:
            return {"changed": [], "left": [{"place": "the whole run", "units": [], "what": self._untreated}]}
        facts = [cures.facts() for cures in self._cures.values()]
        met = {number for each in facts for number in each["met"]}
        left = [what for each in facts for what in each["left"]]
        for number, (where, contender) in enumerate(self._asked[0]):
            if number not in met:
                why = f"not swapped to {contender['name']}: no call matches it; name one that the report shows"
                left.append({"place": where, "units": [], "what": why})
        return {"changed": [what for each in facts for what in each["changed"]], "left": left}

    def _imported(self, framework: Framework) -> None:
        self._treat(framework)
        if self.observer is not None:
            self.observer.start(framework)
        elif self.post is not None and framework.children is not None:
            self._guard(lambda: framework.load_children().when_training(partial(self._train, framework)))

    def _train(self, framework: Framework) -> None:
        """This process is a child, and begins to train."""
        self._guard(partial(self._watch, framework))

    def _watch(self, framework: Framework) -> None:
        from relume.artifacts.writer import RecordingWriter
        from relume.runner.script import before_hard_exit

        if self.post is None:
            return
        file = partial(self._file, framework, framework.load_children().group())  # at its end it may have none any more
        self._observe(RecordingWriter(None, later=file))
        before_hard_exit(self._end_child)
        atexit.register(self._end_child)
        self.observer.start(framework)

    def _end_child(self, status: int | None = None) -> None:
        """End a child's recording in any case: its exit status is not changed."""
        self._guard(partial(self.end, status))

    def _guard(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001 - the child continues, unwatched
            self._complain(
                f"relume: a bug in relume ended the watching of a child process, which continues unchanged "
                f"({type(error).__name__}: {error}). Please report it with this line. [own-fault]"
            )

    def _file(self, framework: Framework, group: tuple[int, int] | None) -> Path:
        """This child's file. Where children form a process group, they are ranks of the first of them."""
        assert self.post is not None
        group = group or framework.load_children().group()
        roles = self.post.roles
        if group is not None and not any(role.startswith("rank") for role in roles):
            rank, first = group[0], int(roles[-1].removeprefix("child")) - group[0]
            if rank > 0 and first > 0:  # started one after the other, as torch.multiprocessing.spawn does
                roles = (*roles[:-1], f"child{first}", f"rank{rank}")
        return replace(self.post, roles=roles).file()

    # ---- its children ----------------------------------------------------------------------------------------------

    def _luggage(self, number: int) -> dict[str, Any]:
        if self.post is None:
            raise LookupError(number)
        return asdict(self.post.of_child(number))

    def _forked(self, number: int | None) -> None:
        """This process is a forked child now."""
        observer, post, self.observer, self.post = self.observer, self.post, None, None
        self._failed = self._failed or (observer is not None and observer.failed)
        if observer is not None:
            observer.writer.abandon()
            _kept.append(observer)
        if number is None or post is None or self._failed:
            return
        self.post = post.of_child(number)
        for framework in FRAMEWORKS:
            if framework.probe is not None and framework.package in sys.modules:
                self._imported(framework)


_kept: list[Any] = []
"""The parent's observers in a forked child: freeing one would use the parent's resources."""


def arrive(luggage: Mapping[str, Any]) -> Passenger:
    """In a spawned child: watch it when it trains; returns the passenger for its own children."""
    process = Process(Post(**luggage), _say)
    process.wait()
    return Passenger(process._children)


def _say(text: str) -> None:
    if sys.__stderr__ is not None:
        print(text, file=sys.__stderr__)
