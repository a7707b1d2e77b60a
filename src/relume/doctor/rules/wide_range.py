"""Sites whose range would cost precision in fixed point.

## What it finds
A site whose largest |output| is so far above its root mean square that eight bits over that range give a
signal-to-noise ratio below 20 dB.

## Why it hurts
Quantization spreads its 255 steps over the whole range: if a few values are huge, all the others share a few steps.

## Evidence
The ratio in dB, the largest |output|, and the larger of the root mean squares at the first and at the latest look.

## False alarms
It does not matter for a network that stays in floating point. Calibration that clips outliers recovers much precision.

## Cure and its safety
A bounded activation (ReLU6, or another bound near the range that is needed), or clipping at calibration.

## Sources
Widrow, Kollár 2008, "Quantization noise", chapter 3 (a step of Δ adds noise of Δ²/12); Krizhevsky 2010, "Convolutional
deep belief networks on CIFAR-10" (ReLU6).
"""

import math

from relume.artifacts.findings import Judged
from relume.artifacts.numbers import figures
from relume.doctor.rules.rule import Rule

LEAST_DB = 20.0
STEPS = 127


def _examine(site: Judged) -> tuple[tuple[int, ...], str, str] | None:
    peak = site.statistics.get("peak", 0.0)
    rms = max(
        site.statistics.get("rms", 0.0), site.statistics.get("rms_first", 0.0)
    )  # a layer that collapsed had another peak
    if not peak or not rms:
        return None
    ratio = 20 * math.log10(rms * STEPS * math.sqrt(12) / peak)
    if ratio >= LEAST_DB:
        return None
    evidence = f"int8 over its range would leave {figures(round(ratio))} dB: "
    evidence += f"the largest output is {figures(peak)}, the usual {figures(rms, 2)}"
    return (), evidence, "for fixed point use ReLU6 or another bound here, or clip at calibration"


RULE = Rule("RLM016", "wide_range", "info", _examine)
