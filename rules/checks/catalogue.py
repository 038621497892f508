"""All checks there are, in the order in which they run. A code stands for one check for ever.

In: the modules of this package. Out: `CHECKS`. Called by `rules.check`, and by whoever explains a code.
"""

from __future__ import annotations

from typing import Final

from rules.checks import (
    boundary,
    carried,
    contradictions,
    idle,
    inside,
    inspection,
    inventory,
    safety,
    security_levels,
    shadows,
    steps,
    stewardship,
)
from rules.checks.registry import Check

CHECKS: Final[tuple[Check, ...]] = (
    *contradictions.CHECKS,
    *inspection.CHECKS,
    *boundary.CHECKS,
    *safety.CHECKS,
    *inside.CHECKS,
    *steps.CHECKS,
    *idle.CHECKS,
    *carried.CHECKS,
    *security_levels.CHECKS,
    *inventory.CHECKS,
    *shadows.CHECKS,
    *stewardship.CHECKS,  # last: asks which waivers the others needed
)
BY_CODE: Final[dict[str, Check]] = {check.code: check for check in CHECKS}
