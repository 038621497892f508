"""The counters from one run of the daemon to the next, so that the account with the kernel's counters goes on closing.

In: the counters segment at a planned stop. Out: a file in the run directory (a tmpfs: it goes with a reboot, like the
kernel's counters), taken up and removed by the next start. After a crash there is none: then control sets the kernel's
counters to zero too. Must never stop the daemon: a ledger that cannot be used is said so and left behind.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

import structlog

from fastpath import abi
from gateway.kernel.counters import queue_stats

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

LEDGER: Final = "counters.ledger"
# Of the run that wrote them, not of the next one: a new queue numbers its packets from the start.
_FORGOTTEN: Final = ("heartbeat_ns", "generation", "last_id", "pending")
_log = structlog.get_logger(__name__)


def kernel_losses(queue_numbers: Sequence[int]) -> int:
    """Return the frames lost in these queues since they were bound, those that closing them will drop included.

    The queues must still be bound. Raises KernelError.
    """
    return sum(
        found.queue_dropped + found.user_dropped + found.waiting
        for found in queue_stats()
        if found.number in queue_numbers
    )


def save(run_dir: Path, view: memoryview, lost: int) -> None:
    """Write the counters of a run that ends, with what the kernel lost in it (`kernel_losses`). Raises OSError."""
    content = bytearray(view)
    at = abi.COUNTERS_HEADER.offsets["lost_before"]
    before = int.from_bytes(content[at : at + 8], "little")
    content[at : at + 8] = (before + lost).to_bytes(8, "little")
    fresh = run_dir / f"{LEDGER}.new"
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(content)
    fresh.rename(run_dir / LEDGER)


def take(run_dir: Path, view: memoryview, queue_numbers: Sequence[int]) -> bool:
    """Fill a new segment with the last run's counters and remove the ledger; False when there is none that fits."""
    path = run_dir / LEDGER
    try:
        content = bytearray(path.read_bytes())
        path.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        _log.warning("ledger_unusable", path=str(path), error=error.strerror)
        return False
    if len(content) != len(view) or not _fits(content, view, queue_numbers):
        _log.warning(
            "ledger_of_another_kind", path=str(path), hint="queues or version changed: counting starts at zero"
        )
        return False
    for index in range(len(queue_numbers)):
        block = abi.COUNTERS_HEADER_BYTES + index * abi.QUEUE_COUNTERS_STRIDE
        for name in _FORGOTTEN:
            start = block + abi.QUEUE_COUNTERS.offsets[name]
            width = 4 if name in ("last_id", "pending") else 8
            content[start : start + width] = bytes(width)
    view[:] = content
    return True


def _fits(content: bytearray, view: memoryview, queue_numbers: Sequence[int]) -> bool:
    """Say whether header and queue numbers are those of the new segment."""
    old, new = abi.COUNTERS_HEADER.unpack_from(content), abi.COUNTERS_HEADER.unpack_from(view)
    numbers = [
        abi.QUEUE_COUNTERS.unpack_from(content, abi.COUNTERS_HEADER_BYTES + i * abi.QUEUE_COUNTERS_STRIDE)[
            "queue_number"
        ]
        for i in range(len(queue_numbers))
    ]
    same = all(old[name] == new[name] for name in ("magic", "abi_version", "queue_count", "queue_bytes"))
    return same and numbers == list(queue_numbers)
