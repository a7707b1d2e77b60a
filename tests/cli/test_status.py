"""The line at the foot of the terminal: it is seen, it is erased, and what the script writes looks as without it."""

from __future__ import annotations

import io
import os
import re
import select
import subprocess
import sys
import termios
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers import made_records as made
from helpers.terminal import Terminal

from relume.cli import _status
from relume.cli._status import Status, wanted

RELUME = Path(sys.executable).with_name("relume")
ROWS, COLUMNS = 12, 60
N = made.N


def site(module="relu2", fired=(0, 5, 500), line=32, **options):
    record = made.record(options.pop("activation", "relu"), fired, **options)
    record.site = replace(record.site, key=module, module=module, line=line)
    return record


class Pty:
    """A pseudo terminal: what is written to its one end is seen at the other."""

    def __init__(self):
        self.master, self.slave = os.openpty()
        self.resize(ROWS, COLUMNS)
        self.terminal = Terminal(ROWS, COLUMNS)

    def resize(self, rows, columns):
        termios.tcsetwinsize(self.slave, (rows, columns))

    def write(self, text):
        os.write(self.slave, text.encode())

    def read(self, seconds=0.0):
        while select.select([self.master], [], [], seconds)[0]:
            self.terminal.feed(os.read(self.master, 65536).decode())
        return self.terminal

    def close(self):
        os.close(self.master)
        os.close(self.slave)


@pytest.fixture
def pty(monkeypatch):
    monkeypatch.setattr(_status, "_LEAST_SECONDS", 0.0)
    monkeypatch.setattr(_status, "_FULL_SCREEN", ())
    opened = Pty()
    yield opened
    opened.close()


# ---- where it is shown ---------------------------------------------------------------------------------------------


class Stream(io.StringIO):
    def __init__(self, tty):
        super().__init__()
        self.tty = tty

    def isatty(self):
        return self.tty


def test_it_is_shown_only_to_a_person_at_a_terminal():
    there = {"TERM": "xterm-256color"}
    assert wanted(Stream(True), there)
    assert not wanted(Stream(False), there)
    assert not wanted(None, there)
    for environment in (
        {}, {"TERM": ""}, {"TERM": "dumb"}, {**there, "CI": "true"}, {**there, "NO_COLOR": "1"},
    ):  # fmt: skip
        assert not wanted(Stream(True), environment)
    closed = io.StringIO()
    closed.close()
    assert not wanted(closed, there)


# ---- what it says --------------------------------------------------------------------------------------------------


def test_it_shows_step_dead_units_and_the_worst_site(pty):
    status = Status(pty.slave)
    records = [site("relu1", (5, 0), 31), site("relu2", (0, 0, 0), 32), site("leaky", (0, 0), activation="leaky_relu")]
    assert status.text(1234, records) == (
        "relume: step 1,234, 4 of 7 units dead, most in relu2 (train.py:32): 3 of 3"
    )  # fmt: skip
    assert status.text(5, [site(fired=(5, 6))]) == "relume: step 5, 0 of 2 units dead"


def test_nan_comes_first_in_red_with_its_step_and_its_first_site(pty):
    records = [site(f"relu{n}", (5, 0), 30 + n, examples=20) for n in range(3)]
    for record, since in zip(records[1:], (947, 946), strict=True):
        record.total.magnitude[1] = np.nan
        record.non_finite_since = np.array([-1, since])
    status = Status(pty.slave)
    assert status.text(1200, records) == (
        "relume: step 1,200, 2 of 6 units NaN or infinite since step 946, first in relu2 (train.py:32)"
    )
    status(1200, records)
    time.sleep(0.05)
    assert b"\x1b[0;1;31m" in os.read(pty.master, 65536)
    status(1201, records[:1])
    time.sleep(0.05)
    assert b"\x1b[0;1;31m" not in os.read(pty.master, 65536)


def test_sites_that_were_seen_too_little_are_not_mentioned(pty):
    few = site("few", (0, 0), examples=299)
    assert Status(pty.slave).text(5, [few]) == "relume: step 5, too little seen so far"
    assert Status(pty.slave).text(5, [few, site(fired=(5, 0))]).startswith("relume: step 5, 1 of 2 units dead")


def test_windows_of_a_set_length_keep_that_length(pty):
    record = site(fired=(0, 500))
    record.first_fired[:] = 0
    record.total = replace(record.total, examples=4 * N, samples=4 * N, fired=np.array([20, 2000]))
    assert " 0 of 2 units dead" in Status(pty.slave).text(5, [record])
    assert " 1 of 2 units dead" in Status(pty.slave, literal=True).text(5, [record])


def test_it_is_in_the_last_row_and_is_erased(pty):
    status = Status(pty.slave)
    pty.write("one\ntwo")
    status(10, [site()])
    terminal = pty.read()
    assert terminal.line(ROWS - 1) == "relume: step 10, 1 of 3 units dead, most in relu2 (train..."
    assert [terminal.line(row) for row in range(3)] == ["one", "two", ""]
    assert (terminal.row, terminal.column) == (1, 3)
    status(20, [site()])
    assert "step 20" in pty.read().line(ROWS - 1)
    status.close()
    assert pty.read().seen() == ["one", "two"]
    assert (terminal.top, terminal.bottom) == (0, ROWS - 1)
    assert (terminal.row, terminal.column) == (1, 3)
    status(30, [site()])
    assert pty.read().seen() == ["one", "two"]


def test_names_of_the_script_cannot_add_escape_sequences_or_wide_letters(pty):
    status = Status(pty.slave)
    status(10, [site("\x1b[2Jnätz\n层", (0,))])
    line = pty.read().line(ROWS - 1)
    assert line.startswith("relume: step 10, 1 of 1 units dead, most in ?[2Jn?tz??")


# ---- what the script writes ----------------------------------------------------------------------------------------

PIECES = {
    "lines": ["epoch 1\n", "epoch 2\n", "epoch 3\n"],
    "a line in pieces": ["loss ", "0.", "5", "\n", "next "],
    "a bar on one line": ["\r 10%|#   |", "\r 20%|##  |", "\r100%|####|", "\ndone\n"],
    "more lines than rows": [f"line {n}\n" for n in range(40)],
    "pieces in the last row": ["\n" * 30, "a", "b", "c\n", "d"],
    "lines longer than the terminal": ["x" * 200, "y" * 59, "z" * 60, "\n", "w" * 61],
    "a full row at the bottom": ["\n" * 30, "q" * 60, "r", "\n"],
    "two bars": ["a 1%\nb 1%", "\x1b[A\ra 2%\n", "\rb 2%", "\x1b[A\ra 3%\n", "\rb 3%\n"],
    "two bars at the bottom": ["\n" * 30, "a 1%\nb 1%", "\x1b[A\ra 2%\n", "\rb 2%", "\x1b[A\ra 3%\n\rb 3%\n"],
    "colors and tabs": ["\x1b[31mred", "\x1b[0m\tx\n", "\x1b[1mb", "\x1b[K\n"],
    "nothing": [""],
}


def looks_alike(pty, pieces):
    plain = Terminal(ROWS, COLUMNS)
    status = Status(pty.slave)
    for step, piece in enumerate(pieces):
        pty.write(piece)
        plain.feed(piece.replace("\n", "\r\n"))
        status(step, [site()])
        terminal = pty.read()
        assert f"step {step}," in terminal.line(ROWS - 1)
        assert terminal.column == plain.column
        above = terminal.gone + [terminal.line(row) for row in range(ROWS - 1)]
        while above and not above[-1]:
            above.pop()
        assert above == plain.seen()
    status.close()
    assert pty.read().seen() == plain.seen()
    assert pty.terminal.column == plain.column


@pytest.mark.parametrize("pieces", PIECES.values(), ids=PIECES)
def test_output_of_the_script_looks_as_without_the_line(pty, pieces):
    looks_alike(pty, pieces)


@pytest.mark.parametrize("seed", range(20))
def test_any_output_of_the_script_looks_as_without_the_line(pty, seed):
    rng = np.random.default_rng(seed)
    atoms = ["word ", "\n", "\r", "\t", "x" * 37, "\x1b[K", "\x1b[32m", "\b"]
    pieces = ["".join(rng.choice(atoms, rng.integers(0, 9))) for _ in range(40)]
    looks_alike(pty, pieces)


# ---- when it is not drawn ------------------------------------------------------------------------------------------


@pytest.mark.alone
def test_it_is_drawn_twice_a_second_at_most(pty, monkeypatch):
    monkeypatch.setattr(_status, "_LEAST_SECONDS", 0.5)
    status, texts, ends = Status(pty.slave), [], time.monotonic() + 1.2
    monkeypatch.setattr(status, "_write", texts.append)
    while time.monotonic() < ends:
        status(1, [site()])
    assert len(texts) == 3


def test_a_terminal_that_is_resized_gets_its_rows_back(pty):
    status = Status(pty.slave)
    status(1, [site()])
    pty.read()
    pty.resize(20, 70)
    pty.terminal.__init__(20, 70)
    status(2, [site()])
    terminal = pty.read()
    assert "step 2" in terminal.line(19)
    assert (terminal.top, terminal.bottom) == (0, 18)
    pty.resize(5, 70)
    status(3, [site()])
    assert (pty.read().top, terminal.bottom) == (0, 19)
    pty.resize(20, 70)
    status(4, [site()])
    assert "step 4" in pty.read().line(19)


@pytest.mark.parametrize("size", [(9, 80), (24, 39), (0, 0)])
def test_a_terminal_without_room_shows_no_line(pty, size):
    pty.resize(*size)
    Status(pty.slave)(1, [site()])
    assert select.select([pty.master], [], [], 0)[0] == []


def test_a_terminal_whose_output_is_stopped_blocks_nobody(pty):
    termios.tcflow(pty.slave, termios.TCOOFF)
    Status(pty.slave)(1, [site()])
    termios.tcflow(pty.slave, termios.TCOON)
    assert pty.read().seen() == []


def test_a_full_screen_program_has_the_terminal_for_itself(pty, monkeypatch):
    monkeypatch.setattr(_status, "_FULL_SCREEN", ("a_full_screen_library",))
    status = Status(pty.slave)
    status(1, [site()])
    assert "step 1" in pty.read().line(ROWS - 1)
    monkeypatch.setitem(sys.modules, "a_full_screen_library", sys)
    status(2, [site()])
    assert pty.read().seen() == []


def test_an_error_removes_the_line_and_does_not_reach_the_script(pty):
    status = Status(pty.slave)
    status(1, [site()])
    status(2, [None])
    assert pty.read().seen() == []
    gone = Status(pty.slave)
    gone(1, [site()])
    os.close(pty.slave)
    gone(2, [site()])
    gone.close()
    pty.slave = os.dup(pty.master)


def test_a_forked_process_draws_nothing_and_erases_nothing(pty):
    status = Status(pty.slave)
    status(1, [site()])
    pty.read()
    status._process = os.getpid() + 1  # as a forked process sees it
    status(2, [site()])
    status.close()
    assert "step 1" in pty.read().line(ROWS - 1)


# ---- the command ---------------------------------------------------------------------------------------------------

SCRIPT = """
    import sys, time
    import torch
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(4, 32), torch.nn.ReLU(), torch.nn.Linear(32, 1))
    with torch.no_grad():
        net[0].bias[:3] = -100
    sgd = torch.optim.SGD(net.parameters(), lr=0.01)
    began, epoch = time.monotonic(), 0
    print("training ", end="", flush=True)
    while time.monotonic() - began < float(sys.argv[1]):
        for _ in range(20):
            sgd.zero_grad()
            net(torch.randn(64, 4)).square().mean().backward()
            sgd.step()
        time.sleep(0.01)
    if "interrupt" in sys.argv:
        raise KeyboardInterrupt
    print("over")
    for line in range(30):
        print("line", line)
    print("to stderr", file=sys.stderr)
    print("no newline", end="")
"""
LEADER = """
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(2, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


def under_a_terminal(pty, command, folder, stdout=None, **environment):
    """Run a command with the terminal as its own; returns its status and all that was written to the terminal."""
    env = {name: value for name, value in os.environ.items() if name not in ("CI", "NO_COLOR")}
    env |= {"TERM": "xterm", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""} | environment
    env.pop("COLUMNS", None)
    child = subprocess.Popen(
        [sys.executable, "-c", LEADER, *map(str, command)],
        cwd=folder, env=env, stdin=pty.slave, stdout=stdout or pty.slave, stderr=pty.slave,
    )  # fmt: skip
    written = b""
    while child.poll() is None or select.select([pty.master], [], [], 0.1)[0]:
        if select.select([pty.master], [], [], 0.05)[0]:
            written += os.read(pty.master, 65536)
    return child.returncode, written.decode()


@pytest.fixture
def script(tmp_path):
    pytest.importorskip("torch")
    (tmp_path / "train.py").write_text(textwrap.dedent(SCRIPT), encoding="utf-8")
    return tmp_path


@pytest.mark.alone
def test_a_run_shows_the_line_and_leaves_the_terminal_as_python_does(pty, script):
    status, written = under_a_terminal(pty, [RELUME, "run", "train.py", "2.4"], script)
    assert status == 0
    steps = [int(step.replace(",", "")) for step in re.findall(r"relume: step ([\d,]+), ", written)]
    assert 1 <= len(steps) <= 6
    assert steps == sorted(set(steps))
    assert ", 3 of 32 units dead, most in 1" in written
    terminal = Terminal(ROWS, COLUMNS)
    terminal.feed(written)
    seen = "\n".join(terminal.seen())
    assert "relume: step" not in seen
    assert (terminal.top, terminal.bottom) == (0, ROWS - 1)
    own, _, report = seen.partition("\nrelume → run.relume")
    lines = "\n".join(f"line {line}" for line in range(30))
    assert own == f"training over\n{lines}\nto stderr\nno newline"
    assert "3 of 32 units are dead" in report


@pytest.mark.alone
def test_the_line_does_not_reach_a_redirected_stdout(pty, script):
    with (script / "out.txt").open("wb") as out:
        status, written = under_a_terminal(pty, [RELUME, "run", "train.py", "1.5"], script, stdout=out)
    assert status == 0
    assert "relume: step" in written
    lines = "".join(f"line {line}\n" for line in range(30))
    assert (script / "out.txt").read_text() == f"training over\n{lines}no newline"


@pytest.mark.parametrize(("options", "environment"), [(["-q"], {}), ([], {"CI": "1"})], ids=["quiet", "CI"])
def test_a_run_shows_no_line_if_it_is_not_wanted(pty, script, options, environment):
    status, written = under_a_terminal(pty, [RELUME, "run", *options, "train.py", "1.5"], script, **environment)
    assert status == 0
    assert "relume: step" not in written
    assert "\x1b7" not in written
    assert "training over" in written


def test_a_run_without_a_terminal_writes_no_line(script):
    env = {**os.environ, "TERM": "xterm", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([RELUME, "run", "train.py", "1.5"], cwd=script, env=env, capture_output=True, text=True)
    assert done.returncode == 0
    assert "relume: step" not in done.stderr
    assert "\x1b" not in done.stderr + done.stdout


@pytest.mark.alone
def test_an_interrupted_run_gives_the_row_back(pty, script):
    _, written = under_a_terminal(pty, [RELUME, "run", "train.py", "1.5", "interrupt"], script)
    assert "relume: step" in written
    terminal = Terminal(ROWS, COLUMNS)
    terminal.feed(written)
    assert (terminal.top, terminal.bottom) == (0, ROWS - 1)
    assert "KeyboardInterrupt" in "\n".join(terminal.seen())
    assert "relume: step" not in "\n".join(terminal.seen())
