"""Phrases shared by several rules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from relume.artifacts.findings import Cause, Judged, died
from relume.artifacts.numbers import percent
from relume.doctor.causes import KINDS, OFFSET
from relume.doctor.judge import bound


def share(units: Sequence[int], site: Judged) -> str:
    """``7 of 128 units (5.5 %)``."""
    return f"{len(units):,} of {site.site.units:,} units ({percent(len(units) / site.site.units)})"


def died_when(units: Sequence[int], site: Judged) -> str:
    """``died between steps 4 and 116``; without a recorded death, when one of the units was last seen firing."""
    deaths = site.deaths()
    known = [deaths[unit] for unit in units if unit in deaths]
    return died(known) if known else f"last seen firing at step {max(site.last_fired[unit] for unit in units):,}"


def died_on(units: Sequence[int], site: Judged) -> str:
    """``did not fire once in the last 387 examples (true rate below 0.8 %, 95 % confidence)``."""
    number = min(site.silent_for[unit] for unit in units) if site.site.code and site.silent_for else site.examples
    limit = percent(bound(number))
    return f"did not fire once in the last {number:,} {examples(site)} (true rate below {limit}, 95 % confidence)"


def examples(site: Judged) -> str:
    """What a unit is judged on: of a sparse code, tokens."""
    return "tokens" if site.site.code else "examples"


def why(units: Sequence[int], site: Judged) -> str:
    """``; cause: weight drift (28 units), large update (8)``, and the evidence of one unit of the first kind."""
    if site.site.code:
        offset = site.statistics.get("offset", 0.0)
        return f"; cause: input not centered (γ = {offset:.2g})" if offset >= NOT_CENTERED else ""
    found = {unit: site.cause[unit] for unit in units if unit in site.cause}
    kinds = _kinds(found.values())
    if not kinds:
        return ""
    counted = ", ".join(
        f"{kind} ({number:,}{' units' * (not place and number > 1)})" for place, (kind, number) in enumerate(kinds)
    )
    unit, example = next((unit, cause) for unit, cause in found.items() if cause.kind == kinds[0][0])
    return f"; cause: {counted}; unit {unit}: {example.says}"


OF_CODES = {
    True: "center the input: subtract its mean before the encoder, or into the encoder's bias (b - W @ mean)",
    False: "start the encoder as the transpose of the decoder, or add an auxiliary loss of dead latents (AuxK)",
}
"""What helps the dead units of a sparse code: whether γ of its input is at least :data:`NOT_CENTERED`, or not.

The last two are of Gao et al. 2024, arXiv 2406.04093, section 2.4.
"""

NOT_CENTERED = 1.0
"""γ = ‖mean‖/‖std‖ of a code's input at which its mean decides which latents are selected (arXiv 2605.31518).

The share of 2,048 random latents that never fire on 8,192 tokens, with 16 selected per token: 0.1 % at γ = 0,
12 % at 0.5, 45 % at 1, 82 % at 2, 91 % at 3.
"""


def advice(units: Sequence[int], site: Judged) -> str:
    """The advice for the most frequent known cause, or for the input if that explains it."""
    if site.site.code:
        return OF_CODES[site.statistics.get("offset", 0.0) >= NOT_CENTERED]
    kinds = _kinds(site.cause[unit] for unit in units if unit in site.cause)
    kind = kinds[0][0] if kinds else "unknown"
    if kind in ("unknown", "born dead") and site.statistics.get("offset", 0.0) >= OFFSET:
        kind = "input offset"
    return KINDS[kind]


def _kinds(causes: Iterable[Cause]) -> list[tuple[str, int]]:
    """The kinds of causes and how many there are of each, the most frequent first, and the unknown ones last."""
    return sorted(Counter(cause.kind for cause in causes).items(), key=lambda kind: (kind[0] == "unknown", -kind[1]))
