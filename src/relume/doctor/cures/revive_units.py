"""Fresh weights for dead units during training, without changing the outputs of the model.

A `relume.Reviver` does it on a schedule, each unit by its own gaps between firings; it is the one cure here that also
works on a network that is trained already. A network under `torch.compile` cannot be revived. What kills the units
stays, so it may be needed again and again.
"""

from relume.artifacts.findings import Judged
from relume.doctor.cures.cure import Cure, Proposal, caused_by

_OTHER_CAUSES = ("constant zero input", "upstream cascade", "frozen", "non-finite")


def _propose(site: Judged) -> Proposal | None:
    elsewhere = caused_by(site, *_OTHER_CAUSES)
    units = tuple(unit for unit in site.dead if unit not in elsewhere)
    if not units or site.site.activation not in ("relu", "relu6") or site.site.compiled:
        return None
    share = f"{len(units)} of {site.site.units} units did not fire in the last {site.examples:,} examples"
    return Proposal(units, (share,), {"rule": "gaps"})


CURE = Cure(
    "revive_units",
    "revive dead units on a schedule during the training, by the rule {rule}",
    _propose,
    known=(
        "on Slowly-Changing Regression the error after 1 M steps was 0.60 with units revived after 1,000 silent "
        "examples, 1.24 without and 1.22 with LeakyReLU(0.01), 30 seeds (relume's own measurement, task of Dohare et "
        "al. 2024)",
    ),
    in_a_run="revive:{rule}",
    tries=("revive",),
)
