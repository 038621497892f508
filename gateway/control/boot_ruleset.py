"""The boundary for the next boot: the static rules in force as a file that conduit-base.service loads.

In: the policy and stages in force. Out: `static.nft` in the state directory, replaced after every change that the
kernel took. Conduits with windows are closed in it: nobody knows when the next boot will be. A file that cannot be
written is loud in status and doctor but stops no change: then the next boot begins with the ruleset before it, or
with the closed base.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import structlog

from gateway.control.durable import write_atomic
from gateway.errors import GatewayError

if TYPE_CHECKING:
    from gateway.control.core import Core

BOOT_RULESET: Final = "static.nft"  # deploy/systemd/conduit-base.service names it too
TROUBLE: Final = "boot_ruleset"
_log = structlog.get_logger(__name__)


async def save_boot_ruleset(core: Core) -> None:
    """Write the ruleset that stands now; notes trouble when that fails. While it is being loaded, the end writes it."""
    if core.static.loading:
        return
    policy = core.policy()
    try:
        script = await asyncio.to_thread(core.kernel.boot_ruleset, policy.lowered, policy.stages_at_boot())
        await asyncio.to_thread(write_atomic, core.state_dir.root / BOOT_RULESET, script.encode())
    except (GatewayError, OSError) as error:
        core.trouble[TROUBLE] = f"the next boot begins with an older ruleset: {error}"
        _log.error("boot_ruleset_unsaved", error=str(error))
        return
    core.trouble.pop(TROUBLE, None)
