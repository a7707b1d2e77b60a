"""Modules identified by their construction: class and order, the same in every run of a script.

The mark is in the module's own ``__dict__``, so copies (``copy.deepcopy``, ``nn.TransformerEncoder``) have it too.
"""

from __future__ import annotations

import functools
import sys
import weakref
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from typing import Any

from torch import nn

from relume.artifacts.swap_plan import Birth
from relume.watching.patches import Patches

_MARK = "_relume_birth"


def kind_of(cls: type) -> str:
    """Module and qualified name of a class."""
    return f"{cls.__module__}:{cls.__qualname__}"


def birth_of(module: nn.Module | None) -> Birth | None:
    """The mark of a module; None without one."""
    mark = None if module is None else module.__dict__.get(_MARK)
    return None if mark is None else Birth(*mark)


class WeakModules:
    """Weak set of modules, compared by identity, as a module may define its own hash and equality.

    These may not work yet: ``torchmetrics.Metric.__hash__`` reads what is set after ``Module.__init__``.
    """

    def __init__(self) -> None:
        self._known: dict[int, weakref.ref[nn.Module]] = {}

    def __iter__(self) -> Iterator[nn.Module]:
        return iter([module for known in list(self._known.values()) if (module := known()) is not None])

    def __len__(self) -> int:
        return len(self._known)

    def add(self, module: nn.Module) -> None:
        """Add one; does nothing if it is present."""
        own = id(module)
        if own not in self._known:
            self._known[own] = weakref.ref(module, lambda _: self._known.pop(own, None))


class Births:
    """Marks modules as they are constructed: those of the given kinds, or all.

    ``born`` is called with each module of the kinds in ``finished`` after its construction.
    """

    def __init__(
        self,
        kinds: Collection[str] | None = None,
        finished: Collection[str] = (),
        born: Callable[[nn.Module], None] | None = None,
        met: Callable[[nn.Module], None] | None = None,
    ) -> None:
        self._kinds = kinds
        self._finished = frozenset(finished)
        self._born = born
        self._met = met
        self._orders: Counter[str] = Counter()
        self._names: dict[type, str] = {}

    def start(self, patches: Patches) -> None:
        """Start marking."""
        original, mark = nn.Module.__init__, self._mark

        @functools.wraps(original)
        def init(self: nn.Module, *args: Any, **kwargs: Any) -> None:
            original(self, *args, **kwargs)
            mark(self)

        patches.put(nn.Module, "__init__", init)
        if not self._finished:
            return
        for kind in self._finished:
            cls = _find(kind)
            if cls is not None:
                self._tell_when_finished(cls, patches)

        def subclassed(cls: Any, /, **kwargs: Any) -> None:
            super(nn.Module, cls).__init_subclass__(**kwargs)
            if kind_of(cls) in self._finished:
                self._tell_when_finished(cls, patches)

        patches.put(nn.Module, "__init_subclass__", classmethod(subclassed))

    def _mark(self, module: nn.Module) -> None:
        cls = type(module)
        kind = self._names.get(cls)
        if kind is None:
            kind = self._names[cls] = kind_of(cls)
        if (self._kinds is None or kind in self._kinds) and _MARK not in module.__dict__:
            module.__dict__[_MARK] = (kind, self._orders[kind])
            self._orders[kind] += 1
            if self._met is not None:
                self._met(module)

    def _tell_when_finished(self, cls: Any, patches: Patches) -> None:
        original, born = cls.__init__, self._born

        @functools.wraps(original)
        def init(self: nn.Module, *args: Any, **kwargs: Any) -> None:
            original(self, *args, **kwargs)
            if type(self) is cls and born is not None:
                born(self)

        patches.put(cls, "__init__", init)


def _find(kind: str) -> Any:
    """The class of a kind, if its module has been imported."""
    home, _, name = kind.partition(":")
    found: Any = sys.modules.get(home)
    for part in name.split("."):
        found = getattr(found, part, None)
    return found if isinstance(found, type) and issubclass(found, nn.Module) else None
