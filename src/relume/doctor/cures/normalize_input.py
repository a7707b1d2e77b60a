"""A normalization before the layer, for units whose input's mean decides their sign.

If the mean of an input is large compared with its spread, all examples fall on one side of a unit's boundary.
"""

from relume.artifacts.findings import Judged
from relume.artifacts.numbers import figures
from relume.doctor.causes import OFFSET
from relume.doctor.cures.cure import Cure, Proposal, caused_by, first_evidence


def _propose(site: Judged) -> Proposal | None:
    units = caused_by(site, "input offset")
    evidence = first_evidence(site, units) if units else ()
    if not units and site.statistics.get("offset", 0.0) >= OFFSET:
        units = caused_by(site, "born dead", "unknown")
        evidence = (f"γ = ‖mean‖/‖std‖ of its input is {figures(site.statistics['offset'])}",)
    return Proposal(units, evidence, {"by": "BatchNorm"}) if units else None


CURE = Cure(
    "normalize_input",
    "center the data, or add a normalization ({by}) before the layer that feeds it",
    _propose,
    known=("LeCun et al. 1998, Efficient BackProp, section 4.3: inputs with a mean of zero",),
    tries=("normalize",),
)
