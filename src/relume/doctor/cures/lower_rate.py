"""A lower learning rate, for units that their own updates pushed below zero.

Start with half the rate: a death by a large update says whether half of that step would have spared the
unit. A warm-up or clipped gradients do the same for a single large step at the start or at a spike.
"""

from relume.artifacts.findings import Judged
from relume.doctor.cures.cure import Cure, Proposal, caused_by, first_evidence


def _propose(site: Judged) -> Proposal | None:
    units = caused_by(site, "large update", "weight drift", "bias drift", "input change")
    if not units:
        return None
    return Proposal(units, first_evidence(site, units), {"factor": 0.5})


CURE = Cure(
    "lower_rate",
    "multiply the learning rate by {factor}, or warm it up, or clip the gradients",
    _propose,
    known=(
        "a third of the rate hardly helped on Slowly-Changing Regression: error 1.09 instead of 1.24 "
        "after 1 M steps, 30 seeds (relume's own measurement, task of Dohare et al. 2024)",
    ),
    in_a_run="lr:{factor}",
    tries=("lr:1/2", "lr:1/4", "warmup:100", "clip:1"),
)
