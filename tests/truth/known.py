"""Where our reading and Wireshark's differ for a reason: who is right, and why.

In: a difference. Out: the sentence that explains it, or None. Explaining one does not count it as equal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from tests.truth.comparing import Difference


class Known(NamedTuple):
    """One explained difference: frames of a capture."""

    capture: str
    frames: frozenset[int]
    right: str  # "we", "Wireshark" or "both"
    why: str


KNOWN: Final[tuple[Known, ...]] = ()


def explanation(difference: Difference) -> str | None:
    """Return who is right about a difference and why, where that was found out."""
    for known in KNOWN:
        if known.capture == difference.capture and difference.frame in known.frames:
            return f"{known.right} right: {known.why}"
    return None
