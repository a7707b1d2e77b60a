"""Commands as a user types them, run in this process; and recordings made by the real writer."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from relume import cli
from relume.artifacts.recording import Clock, Count, Site, SiteRecord, Window
from relume.artifacts.writer import RecordingWriter


def write(path, *, dead=(5,), units=100, examples=2560, lines=(12, 13), not_finite=(), **facts):
    """A recording with a site at each of these lines; the units ``dead`` are silent there since step 100."""
    writer = RecordingWriter(path)
    writer.meta(**{"script": "train.py", "argv": [], "exit": 0, "torch": "2.13", "overhead": 0.01, "finished": True})
    writer.meta(**facts)
    writer.clock(Clock(0, "SGD", "optimizer", 5000, 300))
    for number, line in enumerate(lines):
        name = f"act{number}"
        site = Site(
            f"Net.{name}@train.py:{line}", "Net", name, "nn.ReLU", "train.py", line, "relu", {}, f"fc{number}", 1,
            units, False, 0,
        )  # fmt: skip
        record = SiteRecord.new(site)
        fired = np.full(units, examples // 2)
        fired[list(dead)] = 0
        magnitude = np.ones(units)
        magnitude[list(not_finite)] = np.nan
        record.window = Count(40, examples, examples, fired, examples - fired, magnitude)
        record.total = record.window + Count(
            40, examples, examples, np.full(units, examples // 2), np.zeros(units, np.int64), magnitude
        )
        record.first_fired = np.zeros(units, np.int64)
        record.last_fired = np.where(fired > 0, 4990, 99)
        record.silent_since = np.where(fired > 0, -1, 100)
        writer.site(number, record)
        writer.events(number, [(unit, 100, "died") for unit in dead])
    writer.window(Window(0, 100, 4999, 40), [(n, len(dead), examples) for n in range(len(lines))])
    writer.close()
    return path


@pytest.fixture
def relume(monkeypatch, capsys):
    """``relume("check", file)`` → exit status, stdout, stderr."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["relume", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", "100")
        with pytest.raises(SystemExit) as left:
            cli.main()
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return int(left.value.code), said.out, said.err

    return call
