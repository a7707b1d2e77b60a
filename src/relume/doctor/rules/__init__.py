"""The rules: one file per pathology. A file's docstring is the rule's page; its ``RULE`` is listed here.

To add a rule, add a file and its name in ``RULES``; ``relume explain`` and the docs take the page from it.
"""

from relume.doctor.rules import (
    always_on,
    born_dead,
    broken_weight,
    dead_unit,
    dying_trend,
    exploding_activation,
    exploding_gradient,
    init_gain,
    input_offset,
    learned_slope,
    no_gradient,
    noisy_gradient,
    non_finite,
    one_sided,
    output_activation,
    rare_unit,
    saturated,
    shut_unit,
    stuck_high,
    vanishing_activation,
    vanishing_gradient,
    wide_range,
    zero_unit,
)
from relume.doctor.rules.rule import Rule as Rule

RULES: tuple[Rule, ...] = (
    dead_unit.RULE,
    born_dead.RULE,
    rare_unit.RULE,
    always_on.RULE,
    one_sided.RULE,
    stuck_high.RULE,
    saturated.RULE,
    non_finite.RULE,
    dying_trend.RULE,
    vanishing_gradient.RULE,
    exploding_gradient.RULE,
    exploding_activation.RULE,
    noisy_gradient.RULE,
    init_gain.RULE,
    input_offset.RULE,
    wide_range.RULE,
    learned_slope.RULE,
    vanishing_activation.RULE,
    output_activation.RULE,
    zero_unit.RULE,
    shut_unit.RULE,
    no_gradient.RULE,
    broken_weight.RULE,
)
"""All rules in the order of their codes; a code is never reused."""
