"""Training without weight decay, for units whose weights or scales it shrank to nothing.

`relume fix` tries it for all parameters. If the metric then gets worse, exempt only the biases, the learned slopes and
the scales and shifts of normalizations, in a group of their own in the optimizer.
"""

from relume.artifacts.audited import SHUT
from relume.artifacts.findings import Judged
from relume.doctor.cures.cure import Cure, Proposal, caused_by, first_evidence


def _propose(site: Judged) -> Proposal | None:
    units = caused_by(site, "weight decay", "normalization collapse", SHUT)
    return Proposal(units, first_evidence(site, units), {}) if units else None


CURE = Cure(
    "spare_from_decay",
    "train without weight decay, or exempt this layer and its normalization from it",
    _propose,
    known=("Mehta, Kim, Theobalt 2019, arXiv 1811.12495: decay of scales prunes channels of BatchNorm and ReLU",),
    in_a_run="no_decay",
    tries=("no_decay",),
)
