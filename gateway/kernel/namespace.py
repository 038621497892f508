"""A network namespace that lives as long as one call: for trying things that must not touch the host.

In: a function. Out: its result. The namespace belongs to a thread of its own and dies with it, so nothing can be left
behind, not even by a crash. Must never be entered by a thread that goes on living. Called by `probe` and `sync`.
"""

from __future__ import annotations

import ctypes
import os
import threading
from typing import TYPE_CHECKING, Final, TypeVar

from gateway.errors import KernelError

if TYPE_CHECKING:
    from collections.abc import Callable

CLONE_NEWNET: Final = 0x40000000  # linux/sched.h
TIMEOUT_SECONDS: Final = 120  # nft's own limit is lower; this one is for a hanging kernel

Result = TypeVar("Result")


def in_throw_away_namespace(call: Callable[[], Result]) -> Result:
    """Run the call in a new network namespace; raise KernelError when there can be none, else what the call raises."""
    results: list[Result] = []
    errors: list[BaseException] = []

    def run() -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(CLONE_NEWNET) != 0:
            errors.append(KernelError("NAMESPACE_REFUSED", os.strerror(ctypes.get_errno()), "run as root"))
            return
        try:
            results.append(call())
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            errors.append(error)

    thread = threading.Thread(target=run, name="throw-away namespace", daemon=True)
    thread.start()
    thread.join(TIMEOUT_SECONDS)
    if errors:
        raise errors[0]
    if not results:
        raise KernelError("NAMESPACE_HUNG", f"no answer within {TIMEOUT_SECONDS} s")
    return results[0]
