"""An activation with a slope below zero, for a site with dead units: such a unit cannot die.

It changes the training from its start, and is no cure of a trained network. The slope matters: 0.01 leaves a gradient
that is a hundredth, and helped hardly at all where it was measured.
"""

from relume.artifacts.findings import Judged
from relume.doctor.cures.cure import Cure, Proposal, caused_by

_OTHER_CAUSES = ("constant zero input", "upstream cascade", "frozen", "non-finite")


def _propose(site: Judged) -> Proposal | None:
    elsewhere = caused_by(site, *_OTHER_CAUSES)
    units = tuple(unit for unit in site.dead if unit not in elsewhere)
    if not units or site.site.activation not in ("relu", "relu6"):
        return None
    share = f"{len(units)} of {site.site.units} units are dead, judged on {site.examples:,} examples"
    return Proposal(units, (share,), {"to": "leaky_relu:0.1"})


CURE = Cure(
    "swap_activation",
    "use {to} here instead, from the start of the training",
    _propose,
    known=(
        "on Slowly-Changing Regression the error after 1 M steps was 0.73 with LeakyReLU(0.1), 0.77 with ELU, 1.22 "
        "with LeakyReLU(0.01) and 1.24 with ReLU, 30 seeds (relume's own measurement, task of Dohare et al. 2024)",
    ),
    in_a_run="{to}",
    tries=("leaky_relu:0.1", "elu"),
)
