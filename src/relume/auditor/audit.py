"""Checkpoints of one run → the state of every unit, without running anything."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from relume.artifacts.audited import NO_GRADIENT, SHUT, ZERO, Audited
from relume.artifacts.findings import Cause, Judged
from relume.artifacts.recording import Site
from relume.artifacts.typed import harmless
from relume.auditor.checkpoint import Checkpoint
from relume.auditor.files import SUFFIXES
from relume.auditor.layers import Layer, layers_of
from relume.auditor.moments import Mask, Silence, silence, unmoved
from relume.auditor.proofs import Proof, prove
from relume.auditor.series import read_series
from relume.errors import CheckpointError

NOT_TOLD = (
    "the activations",
    "a checkpoint does not say which activation follows a layer: judged as if it were a ReLU",
)


def is_checkpoint(path: Path) -> bool:
    """Whether a file or folder is a checkpoint, by its name or contents."""
    if os.path.isdir(path):  # False if Path.is_dir() raises, as for a name that is too long
        return any(file.suffix in SUFFIXES for file in (*path.glob("*"), *path.glob("*/*")))
    return path.suffix in SUFFIXES


def audit(paths: Sequence[Path]) -> Audited:
    """Judge every layer of the latest of these checkpoints; the earlier ones prove which units had no gradient since.

    Raises: CheckpointError: one cannot be read, or they are from different runs.
    """
    series = read_series(paths)
    latest = series[-1]
    earlier = [one for one in series[:-1] if one.step is not None and latest.step and one.step < latest.step]
    layers, skipped = layers_of(latest)
    unread = [*latest.unread, *skipped]
    sites = []
    for layer in layers:
        proof = prove(layer, latest.weights)
        if proof.untrained:
            unread.append(
                ("a layer", layer.name, "all weights are zero, as in a branch that starts at zero: not judged")
            )
        sites.append(_judge(layer, latest, proof, _spans(layer, latest, earlier)))
    if not latest.moments:
        unread.append(("deaths by gradients", latest.name, "it has no moments of Adam: its weights alone were read"))
    unused = [one.name for one in series[:-1] if one not in earlier]
    unread += [("a checkpoint", name, "its step is not before that of the judged one") for name in unused]
    run = {
        **{"script": None, "argv": [], "exit": None, "steps": latest.step or 0, "looked": 0, "samples": 0},
        "overhead": None,
        "audited": [name for one in (*earlier, latest) for name in one.files],
        "checkpoint": latest.name,
        "clocks": [],
    }
    unseen = ((NOT_TOLD[0], latest.name, NOT_TOLD[1]), *_counted(unread))
    return Audited(harmless(run), tuple(sites), harmless(unseen))


def _counted(rows: Sequence[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    """The rows, grouped by reason: a transformer has the same one for each of its blocks."""
    first: dict[tuple[str, str], str] = {}
    many = Counter((what, why) for what, _, why in rows)
    for what, where, why in rows:
        first.setdefault((what, why), where)
    return [
        (what, where if many[what, why] == 1 else f"{where} and {many[what, why] - 1} more", why)
        for (what, why), where in first.items()
    ]


def _spans(layer: Layer, latest: Checkpoint, earlier: Sequence[Checkpoint]) -> list[tuple[Checkpoint, Mask]]:
    """For each earlier checkpoint, the units of the layer that had no gradient since.

    Raises: CheckpointError: an earlier one is from another run.
    """
    found = []
    for one in earlier:
        shared = [(n, axis) for n, axis in layer.parameters if n in latest.moments]
        if not shared or any(n not in one.moments for n, _ in shared):
            continue
        masks = [_unmoved(n, axis, one, latest) for n, axis in shared]
        found.append((one, np.asarray(np.all(masks, axis=0))))
    return found


def _unmoved(name: str, axis: int, one: Checkpoint, latest: Checkpoint) -> Mask:
    before, after = one.moments[name], latest.moments[name]
    still = unmoved(before, after, axis) if before.first.shape == after.first.shape else None
    if still is None:
        raise CheckpointError(
            f"{one.name} and {latest.name} are not from one run: {name} differs in shape, or its second moment fell "
            "faster than Adam's can. Give checkpoints of one run with a continued optimizer.",
            slug="checkpoints-of-two-runs",
        )
    return still


def _judge(layer: Layer, latest: Checkpoint, proof: Proof, spans: Sequence[tuple[Checkpoint, Mask]]) -> Judged:
    moments = [(latest.moments[n], axis) for n, axis in layer.parameters if n in latest.moments]
    dated = silence(moments) if moments else None
    causes: dict[int, Cause] = {}
    events = []
    for unit in range(layer.units):
        cause = _cause(unit, proof, dated, spans, layer, latest)
        if cause is not None:
            causes[unit] = cause
            if dated is not None and dated.dead[unit] and not dated.older[unit] and not dated.never[unit]:
                events.append((unit, max(0, dated.of.step - round(float(dated.steps[unit]))), "died"))
    never = dated.never if dated is not None else np.zeros(layer.units, bool)
    return Judged(
        site=_site(layer, latest),
        steps=latest.step or 0,
        examples=0,
        samples=0,
        total_examples=0,
        provisional=False,
        dead=tuple(causes),
        born_dead=tuple(unit for unit in causes if never[unit]),
        rare=(),
        always_on=(),
        stuck_high=(),
        one_sided=(),
        saturated=(),
        dormant=(),
        non_finite=tuple(np.flatnonzero(proof.non_finite).tolist()),
        firing_rate=(None,) * layer.units,
        last_fired=(-1,) * layer.units,
        events=tuple(sorted(events, key=lambda event: event[1])),
        cause=causes,
        mortal=(True,) * layer.units,
        optimizer="Adam" if moments else "",
    )


def _cause(
    unit: int,
    proof: Proof,
    dated: Silence | None,
    spans: Sequence[tuple[Checkpoint, Mask]],
    layer: Layer,
    latest: Checkpoint,
) -> Cause | None:
    """Why a unit is dead, by the strongest evidence; None for a living one."""
    if proof.non_finite[unit]:
        return None
    if proof.zero[unit]:
        return Cause(
            ZERO, "its incoming weights are all zero, so it has the same value for every input, and not above 0"
        )
    if proof.shut[unit]:
        scale, shift = (float(latest.weights[name or ""].numbers()[unit]) for name in (layer.scale, layer.shift))
        held = "for every input" if scale == 0 else "in every training batch"
        return Cause(SHUT, f"scale {scale:.3g} and shift {shift:.3g} keep it at or below 0 {held}")
    if dated is None or not dated.dead[unit]:
        return None
    since = [one for one, still in spans if still[unit]]
    return Cause(NO_GRADIENT, _since(unit, dated) + (f"; {_proven(since[0], latest)}" if since else ""))


def _since(unit: int, dated: Silence) -> str:
    if dated.never[unit]:
        return f"no gradient in any of {dated.of.step:,} steps: its second moment is zero"
    if dated.older[unit]:
        return f"no gradient for more than {dated.steps[unit]:,.0f} steps: its first moment has decayed to nothing"
    about, most = f"{dated.steps[unit]:,.0f}", f"{dated.most[unit]:,.0f}"
    rates = f", if β1 = {dated.of.beta1:g} and β2 = {dated.of.beta2:g}" if dated.of.assumed else ""
    return f"no gradient for about {about} steps, at most {most}, by its moments' decay{rates}"


def _proven(one: Checkpoint, latest: Checkpoint) -> str:
    steps = (latest.step or 0) - (one.step or 0)
    return f"proven for the {steps:,} steps since {one.name}, in which its second moment fell by β2 per step"


def _kind(layer: Layer, latest: Checkpoint) -> str:
    """The type of the site's module, by its parameters."""
    if layer.norm or layer.weight is None:
        return "BatchNorm"
    weights = latest.weights.get(layer.weight)
    axes = (weights.shape if weights is not None else latest.moments[layer.weight].first.shape)[2:]
    return f"Conv{len(axes)}d" if axes else "Linear"


def _site(layer: Layer, latest: Checkpoint) -> Site:
    name, file = harmless((layer.norm or layer.name, latest.name))
    return Site(
        key=f"{name}@{file}",
        model="",
        module=name,
        call=_kind(layer, latest),
        file=file,
        line=0,
        activation="",
        parameters={},
        layer=harmless(layer.name),
        unit_axis=layer.axis,
        units=layer.units,
        axis_assumed=False,
        clock=0,
    )
