"""Making orders for real scripts, and finding the processes that they leave behind."""

from __future__ import annotations

import os
import textwrap
import time
from pathlib import Path

from relume.artifacts.trial import TrialKey
from relume.lab.executors.local import LocalExecutor
from relume.lab.trials.forked import Place
from relume.lab.trials.spec import Script, TrialSpec

HERE = str(Path(__file__).parent)


def order(folder, text=None, seed=0, args=(), script="train.py", **options):
    """An order for a script, which is written where its text is given."""
    if text is not None:
        (Path(folder) / script).write_text(textwrap.dedent(text))
    options.setdefault("plan", {})
    key = TrialKey("elu", seed, 1.0, "confirm")
    return TrialSpec(key, Script(script, tuple(args), False, str(folder)), **options)


def places(top):
    """A log for each seed."""
    Path(top).mkdir(parents=True, exist_ok=True)
    return lambda order: Place(log(top, order.key.seed))


def log(top, seed=0):
    return f"{top}/{seed}.log"


def said(top, seed=0):
    """What a trial printed."""
    return Path(log(top, seed)).read_text()


def left(executor):
    """What trials have left behind in the folders of their servers, which are empty between them."""
    return sorted(path.name for server in executor._servers for path in Path(server._folder.name).iterdir())


def executor(top, **options):
    return LocalExecutor(places(top), **{"jobs": 1, "body": "bodies:plain", **options})


def processes(mark):
    """The processes in whose environment, command line or working folder a text stands, without this one."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        if int(entry.name) == os.getpid():
            continue
        try:
            state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
            text = (entry / "environ").read_bytes() + (entry / "cmdline").read_bytes()
            where = os.readlink(entry / "cwd").encode()
        except OSError:
            continue
        if state != "Z" and (mark.encode() in text or mark.encode() in where):
            found.append(int(entry.name))
    return found


def wait_until(holds, longest=30.0):
    """Wait for something that happens in other processes."""
    latest = time.monotonic() + longest
    while not holds():
        assert time.monotonic() < latest, "it did not happen"
        time.sleep(0.01)
