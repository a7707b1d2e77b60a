"""Parameters without weight decay, for units whose weights or scales it shrank to nothing.

Biases, scales and shifts of normalizations are usually given no weight decay; a group of their own in the optimizer
does it.
"""

from relume.artifacts.audited import SHUT
from relume.artifacts.findings import Judged
from relume.doctor.cures.cure import Cure, Proposal, caused_by, first_evidence


def _propose(site: Judged) -> Proposal | None:
    units = caused_by(site, "weight decay", "normalization collapse", SHUT)
    return Proposal(units, first_evidence(site, units), {"weight_decay": 0.0}) if units else None


CURE = Cure(
    "spare_from_decay",
    "give the parameters of this layer and its normalization a weight decay of {weight_decay}",
    _propose,
    known=("Mehta, Kim, Theobalt 2019, arXiv 1811.12495: decay of scales prunes channels of BatchNorm and ReLU",),
)
