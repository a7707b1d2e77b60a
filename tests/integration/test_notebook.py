"""``relume.watch`` in a notebook: cells of one namespace, run again, interrupted by errors, modules reloaded."""

from __future__ import annotations

import gc
import importlib
import sys

import pytest

pytest.importorskip("torch")

MODULE = """
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.act, self.second = nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 1)

    def forward(self, x):
        return self.second(self.act(self.first(x)))
"""

SETUP = """
import torch, relume, network_of_a_notebook as network
net = network.Net()
sgd = torch.optim.SGD(net.parameters(), lr=0.01)

def train(steps, fails_at=None):
    for step in range(steps):
        if step == fails_at:
            raise ValueError("in the cell")
        sgd.zero_grad()
        net(torch.randn(16, 4)).pow(2).mean().backward()
        sgd.step()

def seen(watch):
    return [site["total_examples"] for site in watch.to_dict()["sites"]]
"""


@pytest.fixture
def cell(tmp_path, monkeypatch):
    """Runs a cell as IPython does: each has a file name of its own, all share their names; gives the namespace."""
    (tmp_path / "network_of_a_notebook.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    names = {"__name__": "__main__"}
    number = iter(range(1, 100))

    def run(text):
        exec(compile(text, f"/tmp/ipykernel_7/{next(number)}.py", "exec"), names)
        return names

    run(SETUP)
    yield run
    names.clear()
    gc.collect()
    sys.modules.pop("network_of_a_notebook", None)


def listening():
    from relume.torch.watching.schedule import taps

    return len(taps._subscribers)


def test_cells_that_watch_one_after_the_other_each_see_their_own(cell):
    before = listening()
    for _ in range(2):
        names = cell("with relume.watch(net, every=1) as w: train(10)\nfirst = seen(w)")
        assert names["first"] == [160]
    assert listening() == before
    assert "act" in names["w"]._repr_html_()


def test_a_cell_that_fails_keeps_its_counts_and_the_next_one_watches_again(cell):
    with pytest.raises(ValueError, match="in the cell"):
        cell("with relume.watch(net, every=1) as w: train(10, fails_at=6)")
    assert cell("found = seen(w)")["found"] == [96]
    assert cell("w.start(); train(3); w.stop(); found = seen(w)")["found"] == [144]
    assert cell("with relume.watch(net, every=1) as w: train(4)\nfound = seen(w)")["found"] == [64]


def test_watch_that_a_cell_run_again_drops_is_over(cell):
    before = listening()
    text = "w = relume.watch(net, every=1).start()\ntrain(4, fails_at=2)"
    for _ in range(3):
        with pytest.raises(ValueError, match="in the cell"):
            cell(text)
        gc.collect()
        assert listening() == before + 1
    assert cell("w.stop()\nfound = seen(w)")["found"] == [32]
    assert listening() == before


def test_module_that_is_reloaded_is_watched_as_before(cell):
    """As ``%autoreload`` does it: the module is executed anew, and objects get the new class."""
    names = cell("w = relume.watch(net, every=1).start()\ntrain(5)")
    importlib.reload(names["network"])
    names = cell("net.__class__ = network.Net\ntrain(5)\nw.stop()\nfound = seen(w)")
    assert names["found"] == [160]
    text = "net = network.Net()\nsgd = torch.optim.SGD(net.parameters(), lr=0.01)\n"
    assert cell(text + "with relume.watch(net, every=1) as w: train(3)\nfound = seen(w)")["found"] == [48]
