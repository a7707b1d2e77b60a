"""The bodies of trials in these tests: scripts as the runner runs them, without treatment, capture or watch."""

from __future__ import annotations

import re

from relume.artifacts.trial import Trial
from relume.lab.trials.templates import fill
from relume.runner.script import load_module, load_script, run


def plain(order, log):
    """The script as it stands; ``metric value`` lines of its log are its metrics."""
    args = fill(order.script.args, order.key.seed, order.key.lr_factor).args
    program = (load_module if order.script.is_module else load_script)(order.script.script, args)
    status = run(program)
    found = re.findall(r"^(\w+) (\S+)$", log.read_text(), re.MULTILINE)
    metrics = {name: tuple((float(n), float(v)) for n, (m, v) in enumerate(found) if m == name) for name, _ in found}
    if status:
        return Trial(order.key, "failed", metrics, f"status {status}"), {}
    return Trial(order.key, "finished", metrics), {"plan": "found"}


def broken(order, log):
    """A body that fails."""
    raise RuntimeError("the body")
