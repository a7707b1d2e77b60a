"""The cures: one file per cure, with its evidence. To add a cure, add a file and its ``CURE`` in ``CURES``."""

from relume.doctor.cures import (
    initialize_anew,
    lower_rate,
    normalize_input,
    revive_units,
    spare_from_decay,
    swap_activation,
)
from relume.doctor.cures.cure import Cure as Cure

CURES: tuple[Cure, ...] = (
    lower_rate.CURE,
    spare_from_decay.CURE,
    normalize_input.CURE,
    initialize_anew.CURE,
    revive_units.CURE,
    swap_activation.CURE,
)
"""The order of proposals at a site: cures for a single cause first."""
