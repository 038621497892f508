"""The kernel's `static` follows what is in force. Loading a policy into it takes seconds, and nobody waits for those.

In: the policy that the engine runs, under the core's lock. Out: `static` of that policy with the stages of now.
A load fills the bank that judges nothing; for that time it gives the lock up, so that stage changes, windows and
quarantine go on. What they set meanwhile the engine has at once, and `static` with the end of the load.
ORDER: nothing that judges changes before the lock is held again. That no other policy comes into force meanwhile is the
caller's to see to (`Core.changing`).
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gateway.control.in_force import PolicyInForce
    from gateway.control.kernel_port import KernelPort


class StaticRules:
    """`static` of one control plane. While `loading`, the kernel still holds the policy before."""

    def __init__(self, kernel: KernelPort, lock: asyncio.Lock) -> None:
        self._kernel = kernel
        self._lock = lock
        self.loading = False

    async def load(self, policy: PolicyInForce) -> None:
        """Make `static` this policy's. Raises KernelError; then the one before goes on."""
        self.loading = True
        try:
            async with _given_up(self._lock):
                await asyncio.to_thread(self._kernel.prepare_static, policy.lowered, policy.stages_in_force())
        finally:
            self.loading = False
        await asyncio.to_thread(self._kernel.apply_static, policy.lowered, policy.stages_in_force())

    async def follow(self, policy: PolicyInForce) -> None:
        """Bring stages and open conduits up to date; a load that is under way takes them along. Raises KernelError."""
        if not self.loading:
            await asyncio.to_thread(self._kernel.update_static, policy.lowered, policy.stages_in_force())


@asynccontextmanager
async def _given_up(lock: asyncio.Lock) -> AsyncIterator[None]:
    """Give a lock up for the block; behind it the lock is held again, whatever happened and whoever cancels."""
    lock.release()
    try:
        yield
    finally:
        taking = asyncio.ensure_future(lock.acquire())
        cancelled: asyncio.CancelledError | None = None
        while not taking.done():
            try:
                await asyncio.shield(taking)
            except asyncio.CancelledError as error:
                cancelled = error
        if cancelled is not None:
            raise cancelled
