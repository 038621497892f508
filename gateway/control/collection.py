"""Keeps Python's cyclic collector from walking a large policy again and again.

In: work that makes a million objects and no cycles to speak of. Out: the same work in about half the time, and a
process in which a later collection doesn't stop every thread for the second that it takes to look at all of them: what
lives on is frozen, out of the collector's sight. It is freed all the same when the last reference goes.
Must never be left with the collector off. Called where a policy is compiled and where one came into force.
"""

from __future__ import annotations

import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def uncollected() -> Iterator[None]:
    """Do without the collector for as long as this lasts; other threads do, too."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def settle() -> None:
    """Take what lives now out of the collector's sight."""
    gc.freeze()
