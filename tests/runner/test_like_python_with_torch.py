"""``relume run`` is ``python`` while a PyTorch script is watched: tracebacks, children, hard exits."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from relume.artifacts.reader import read

pytest.importorskip("torch")

RELUME = [Path(sys.executable).with_name("relume"), "run", "--out", "t.relume"]
ENV = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
ENV.pop("PYTHONUNBUFFERED", None)
CALLS = re.compile(rb'  File "[^"]*/torch/nn/modules/module.py", line \d+, in \w+\n    .*\n(?: +[~^]+\n)?')
"""How a module comes to its forward: torch goes another way through its own code while anyone has a global hook."""

BLOCK = re.compile(rb"\nrelume \xe2\x86\x92 .*", re.DOTALL)

TRAIN = """
import os, sys
import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(4, 8)
        self.act = nn.ReLU()
        self.second = nn.Linear(8, 2)

    def forward(self, x, fail=None):
        h = self.act(self.first(x))
        if fail == "plain":
            raise ValueError("in forward")
        if fail == "shape":
            h = h @ h
        if fail == "function":
            F.relu("no tensor")
        if fail == "method":
            torch.zeros(2).relu(3)
        if fail == "conv":
            F.max_pool2d(h, 2, stride=(1, 2, 3))
        if fail == "chain":
            try:
                F.relu(F.linear(h, h.t(), torch.zeros(99)))
            except RuntimeError as error:
                raise KeyError("wrapped") from error
        return self.second(h)

net = Net()
sgd = torch.optim.SGD(net.parameters(), lr=0.1)

def train(steps, fail=None):
    for _ in range(steps):
        sgd.zero_grad()
        net(torch.randn(16, 4), fail).pow(2).mean().backward()
        sgd.step()
"""


def both(folder, text, *arguments):
    """Run a training script by python and by relume, and compare; returns python's result and relume's block."""
    (folder / "x.py").write_text(TRAIN + textwrap.dedent(text))
    results = [
        subprocess.run([*way, "x.py", *arguments], cwd=folder, env=ENV, capture_output=True, timeout=120)
        for way in ([sys.executable], RELUME)
    ]
    python, relume = results
    blocks = BLOCK.findall(relume.stderr)
    assert relume.stdout == python.stdout
    assert CALLS.sub(b"", BLOCK.sub(b"", relume.stderr)) == CALLS.sub(b"", python.stderr)
    assert relume.returncode == python.returncode
    return python, blocks


@pytest.mark.parametrize(
    "fail",
    [
        "conv",
        "chain",
        *(pytest.param(fail, marks=pytest.mark.slow) for fail in ("plain", "shape", "function", "method")),
    ],
)
def test_error_in_a_watched_forward_shows_pythons_own_traceback(tmp_path, fail):
    python, blocks = both(tmp_path, f"train(1)\ntrain(1, {fail!r})\n")
    assert python.returncode == 1
    assert b"Traceback" in python.stderr
    assert b"None of 8 units is dead" in blocks[0]


@pytest.mark.slow
def test_error_in_a_watched_forward_reaches_a_custom_hook_clean(tmp_path):
    python, _ = both(
        tmp_path,
        """
        import traceback
        def hook(kind, error, trace):
            print([f.name for f in traceback.extract_tb(trace) if "nn/modules/module.py" not in f.filename])
        sys.excepthook = hook
        train(1, "function")
        """,
    )
    assert b"forward" in python.stdout


@pytest.mark.slow
def test_training_that_ends_well_is_watched(tmp_path):
    python, blocks = both(tmp_path, "train(20)\nprint(sum(float(p.sum()) for p in net.parameters()))\n")
    assert python.returncode == 0
    assert b"nn.ReLU" in blocks[0]
    recording = read(tmp_path / "t.relume")
    assert recording.meta["exit"] == 0
    assert [clock.steps for clock in recording.clocks] == [20]


def test_hard_exit_in_the_middle_of_training_keeps_the_counts(tmp_path):
    python, blocks = both(tmp_path, "train(20)\nos._exit(7)\n")
    assert python.returncode == 7
    assert b"nn.ReLU" in blocks[0]
    recording = read(tmp_path / "t.relume")
    assert recording.meta["exit"] == 7
    assert [clock.steps for clock in recording.clocks] == [20]
    assert recording.sites[0].total.examples >= 16


@pytest.mark.parametrize(
    "end",
    [
        "sys.exit(5)",
        *(pytest.param(end, marks=pytest.mark.slow) for end in ("os._exit(5)", "raise ValueError", "pass")),
    ],
)
def test_fork_in_the_middle_of_training_keeps_each_recording_and_one_summary(tmp_path, end):
    _, blocks = both(
        tmp_path,
        f"""
        train(10)
        child = os.fork()
        if child == 0:
            train(5)
            sys.stdout.flush()
            {end}
            sys.exit(0)
        print(os.waitstatus_to_exitcode(os.wait()[1]))
        train(10)
        """,
    )
    assert len(blocks) == 1
    assert blocks[0].count("relume →".encode()) == 1
    recording = read(tmp_path / "t.relume")
    assert [clock.steps for clock in recording.clocks] == [20]
    child = read(tmp_path / "t.child1.relume")
    assert [clock.steps for clock in child.clocks] == [5]
    assert child.meta["finished"]
    assert {path.name for path in tmp_path.glob("t.*relume*")} == {"t.relume", "t.child1.relume"}


@pytest.mark.parametrize("context", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_data_loader_workers_leave_the_recording_intact(tmp_path, context):
    _, blocks = both(
        tmp_path,
        f"""
        class Data(torch.utils.data.Dataset):
            def __len__(self):
                return 64
            def __getitem__(self, n):
                return torch.relu(torch.full((4,), float(n)))

        if __name__ == "__main__":
            loader = torch.utils.data.DataLoader(Data(), 16, num_workers=1, multiprocessing_context={context!r})
            train(3)
            for batch in loader:
                net(batch.clone()).sum().backward()
                sgd.step()
            print(sum(float(p.sum()) for p in net.parameters()))
        """,
    )
    assert blocks[0].count("relume →".encode()) == 1
    assert [clock.steps for clock in read(tmp_path / "t.relume").clocks] == [7]
    assert {path.name for path in tmp_path.glob("t.*relume*")} == {"t.relume"}


def test_asking_whether_torch_is_there_does_not_end_the_watching(tmp_path):
    """As libraries do that work with and without PyTorch: ``importlib.util.find_spec("torch") is not None``."""
    text = "import importlib.util\nassert importlib.util.find_spec('torch') is not None\n" + TRAIN + "train(5)\n"
    (tmp_path / "x.py").write_text(text)
    done = subprocess.run([*RELUME, "x.py"], cwd=tmp_path, env=ENV, capture_output=True, timeout=120)
    assert done.returncode == 0
    assert b"nn.ReLU" in done.stderr


@pytest.mark.slow
def test_module_facts_of_torch_are_its_own(tmp_path):
    both(
        tmp_path,
        """
        import importlib.resources
        print(type(torch.__loader__).__name__, type(torch.__spec__.loader).__name__, torch.__spec__.origin)
        print(importlib.resources.files("torch") / "version.py", len([f for f in sys.meta_path if "relume" in repr(f)]))
        """,
    )


def test_warnings_of_torch_name_the_users_line_and_come_once_a_line(tmp_path):
    python, _ = both(
        tmp_path,
        """
        layer = nn.Linear(2, 1)
        optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
        for _ in range(3):
            for _ in range(2):
                loss = F.mse_loss(torch.relu(layer(torch.ones(2, 2))), torch.zeros(2))
            loss = loss + F.mse_loss(torch.relu(layer(torch.ones(2, 2))), torch.zeros(2))
            loss = loss + nn.MSELoss()(layer(torch.ones(2, 2)), torch.zeros(2))
            loss.backward()
            optimizer.step()
        """,
    )
    assert python.stderr.count(b"UserWarning") == 3
