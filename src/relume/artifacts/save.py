"""Writing a whole recording at once, as the combining of several does."""

from __future__ import annotations

from pathlib import Path

from relume.artifacts.recording import Recording
from relume.artifacts.writer import RecordingWriter


def save(recording: Recording, path: Path) -> None:
    """Write a recording to a file; ``read(path)`` gives it back.

    Raises: RecordingError: the file exists and is no recording, is being written, or cannot be written.
    """
    writer = RecordingWriter(None)
    with writer.transaction():
        writer.meta(**recording.meta)
        for clock in recording.clocks:
            writer.clock(clock)
        for number, record in enumerate(recording.sites):
            writer.site(number, record)
            writer.events(number, record.events)
            writer.deaths(number, record.deaths.values())
        rows: dict[tuple[int, int], list[tuple[int, int, int]]] = {}
        for site, first_step, units, examples in recording.timeline:
            rows.setdefault((recording.sites[site].site.clock, first_step), []).append((site, units, examples))
        for window in recording.windows:
            writer.window(window, rows.get((window.clock, window.first_step), []))
        writer.rates(recording.rates)
        writer.loss_points(recording.losses)
        for row in recording.not_observed:
            writer.not_observed(*row)
    writer.save(path)
    writer.close()
