"""Listening to Python's audit events: to some of them, at little cost to all the others."""

from __future__ import annotations

import sys
from types import FunctionType

import pytest

from relume.lab.trials.events import listen


@pytest.fixture
def hooks(monkeypatch):
    """What is added as hooks, which a process never gets rid of."""
    added = []
    monkeypatch.setattr(sys, "addaudithook", added.append)
    return added


def test_only_requested_events_are_delivered(hooks):
    told = []
    listen(("open", "os.chdir"), lambda event, args: told.append((event, args)))
    for event in ("open", "builtins.id", "os.chdir", "os.chmod"):
        hooks[0](event, (event,))
    assert told == [("open", ("open",)), ("os.chdir", ("os.chdir",))]


def test_the_listener_is_a_plain_function(hooks):
    listen(("open",), print)
    assert [type(hook) for hook in hooks] == [FunctionType]
