"""Another initialization, for units that never fired.

Use He's initialization with a bias of zero or slightly above, or another seed. For deep and narrow networks a
randomized asymmetric initialization collapses less often.
"""

from relume.artifacts.findings import Judged
from relume.doctor.cures.cure import Cure, Proposal, caused_by, first_evidence


def _propose(site: Judged) -> Proposal | None:
    units = caused_by(site, "born dead")
    return Proposal(units, first_evidence(site, units), {"bias": 0.01}) if units else None


CURE = Cure(
    "initialize_anew",
    "initialize the layer before it with He's rule and a bias of {bias}, or use another seed",
    _propose,
    known=(
        "of 1,000 networks with 10 layers of width 2, more than 90 % become constant with He's initialization, and a "
        "third with a randomized asymmetric one (Lu et al. 2019, arXiv 1903.06733)",
    ),
    tries=("init",),
)
