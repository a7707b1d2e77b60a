"""A run's file → findings: the recording, those of the same run next to it, and the doctor's findings on them."""

from __future__ import annotations

from pathlib import Path

from relume.activations import ACTIVATIONS
from relume.artifacts.findings import Findings
from relume.artifacts.parts import read_run
from relume.artifacts.recording import Recording
from relume.doctor.combine import combine
from relume.doctor.diagnosis import diagnose
from relume.errors import RecordingError


def findings_of(file: str | Path) -> Findings:
    """The doctor's findings on a recording and on those of the same run next to it.

    Raises: RecordingError: it cannot be read, or is of a newer relume.
    """
    parts, unseen = read_run(Path(file))
    for part in parts:
        demand_known(part.recording, str(file))
    return diagnose(combine(parts, unseen))


def demand_known(recording: Recording, file: str) -> None:
    """Raises: RecordingError: the recording has activations that this relume does not know."""
    unknown = sorted({record.site.activation for record in recording.sites} - set(ACTIVATIONS))
    if unknown:
        raise RecordingError(
            f"{file} contains {', '.join(unknown)}, which this relume does not know. Upgrade: pip install -U relume.",
            slug="recording-newer",
        )
