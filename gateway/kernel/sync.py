"""Makes the kernel's fallback that of a policy, and proves it by reading back.

In: lowered policies, effective stages, closed conduits. Out: the ruleset in force, each change atomic, or
KernelError with the old ruleset still in force. Whether it still stands is asked by comparing the kernel's own listing
with the one taken right after loading it.
Must never open a gap: between any two changes one of the two rulesets is in force. Called by control.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

from gateway.errors import KernelError
from gateway.kernel import bridge, interception, nft
from gateway.kernel.namespace import in_throw_away_namespace
from rules import static
from rules.static_guard import QUARANTINE
from rules.static_lane import LANE_TABLE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet

    from fastpath.abi import Form, Stage
    from rules.records import LoweredPolicy

TABLE: Final = ("bridge", "conduit")
MOVING: Final = frozenset({"handle", "packets", "bytes", "expires"})  # what changes without anybody changing a rule

JUDGING: Final = frozenset({"chain", "rule", "map"})
UNORDERED: Final = frozenset({"set", "elem"})  # elements are listed in the order of a hash with a random seed


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a load left in the kernel: keep it to ask later whether it still stands."""

    kernel_digest: str


def ensure_base(bridge_name: str) -> bool:
    """Close the bridge when no ruleset of ours stands yet; return whether it had to be done."""
    if nft.text_listing("chain", *TABLE, "static"):
        return False
    nft.apply(static.render_base(sorted(bridge.ports(bridge_name))))
    if "policy drop" not in nft.text_listing("chain", *TABLE, "static"):
        raise KernelError("BASE_LOST", "the kernel does not hold the closed base table")
    return True


def apply_policy(
    policy: LoweredPolicy,
    *,
    form: Form,
    bridge_name: str,
    stages: Mapping[tuple[int, int], Stage],
    closed: AbstractSet[int],
    first_queue: int,
    queue_count: int,
    layer2_queue: int | None,
    lane: bool = False,
) -> Loaded:
    """Put a policy's ruleset in force: the spare bank is filled, then one transaction switches to it.

    `stages` are effective: under the ceiling. On an error the old ruleset goes on.
    """
    spare = 1 if _bank_in_use() == 0 else 0
    prepare, switch = static.render_parts(
        policy,
        form=form,
        stages=stages,
        closed=closed,
        first_queue=first_queue,
        queue_count=queue_count,
        layer2_queue=layer2_queue,
        bridge_ports=sorted(bridge.ports(bridge_name)),
        bank=spare,
        lane=lane,
    )
    nft.apply(prepare)
    nft.apply(switch)
    if not lane:
        _remove_lane()
    if _bank_in_use() != spare:
        raise KernelError("STATIC_LOST", "the kernel does not judge by the ruleset that was just loaded")
    return Loaded(kernel_digest())


def apply_toggle(policy: LoweredPolicy, *, stages: Mapping[tuple[int, int], Stage], closed: AbstractSet[int]) -> Loaded:
    """Bring stages and closed conduits up to date under the ruleset that `apply_policy` loaded."""
    bank = _bank_in_use()
    if bank is None:
        raise KernelError("STATIC_MISSING", "no policy's ruleset stands", "apply the policy first")
    nft.apply(static.render_toggle(policy, stages=stages, closed=closed, bank=bank))
    return Loaded(kernel_digest())


def policy_stands() -> bool:
    """Say whether some policy's ruleset is in force; which one, `stands` and `in_sync` tell."""
    return _bank_in_use() is not None


def script_of(
    policy: LoweredPolicy,
    *,
    form: Form,
    bridge_name: str,
    stages: Mapping[tuple[int, int], Stage],
    closed: AbstractSet[int],
    first_queue: int,
    queue_count: int,
    layer2_queue: int | None,
    lane: bool = False,
) -> str:
    """Return the whole ruleset of a policy for the ports that the bridge has now and the bank that is in use."""
    return static.render(
        policy,
        form=form,
        stages=stages,
        closed=closed,
        first_queue=first_queue,
        queue_count=queue_count,
        layer2_queue=layer2_queue,
        bridge_ports=sorted(bridge.ports(bridge_name)),
        bank=_bank_in_use() or 0,
        lane=lane,
    )


def in_sync(script: str) -> bool:
    """Say whether the kernel holds what a script of `script_of` leaves, by loading it where it does no harm.

    For a control plane that has just been started and did not load the ruleset itself. Blocks as long as a load.
    """

    def elsewhere() -> str:
        nft.apply(script)
        return kernel_digest()

    return bool(nft.text_listing("chain", *TABLE, "static")) and kernel_digest() == in_throw_away_namespace(elsewhere)


def stands(loaded: Loaded) -> bool:
    """Read the kernel back and say whether it still holds what was loaded."""
    return kernel_digest() == loaded.kernel_digest


def kernel_digest() -> str:
    """Return a digest of what judges in our table now: hooks, the bank in use, without what moves by itself.

    Whether quarantine's lookups stand depends on who is in it: `guard.stands` asks for them.
    """
    bank = _bank_in_use()
    spare = None if bank is None else f"_{1 - bank}"
    held = []
    for found in nft.listing("table", *TABLE):
        for kind in JUDGING & found.keys():
            name = str(found[kind]["chain" if kind == "rule" else "name"])
            if kind == "rule" and name == QUARANTINE:
                continue
            if spare is None or not name.endswith(spare):
                held.append((name, {kind: _still(found[kind])}))
    # Chains are listed in the order in which they were made; the order of rules within one counts, and is kept.
    held.sort(key=itemgetter(0))
    return hashlib.sha256(json.dumps(held, sort_keys=True).encode()).hexdigest()


def _bank_in_use() -> int | None:
    return static.bank_in_use(nft.text_listing("chain", *TABLE, "static"))


def remove(bridge_name: str) -> None:
    """Remove our tables and release the bridge's ports: uninstalling, never a stop.

    ORDER: the ports first, so that no frame crosses the bridge without the tables.
    """
    bridge.release(bridge_name, list(bridge.ports(bridge_name)))
    interception.remove_x_tables()
    _remove_lane()
    nft.delete_table(*TABLE)


def _remove_lane() -> None:
    family, name = LANE_TABLE.split()
    if nft.table_exists(family, name):
        nft.delete_table(family, name)


def _still(value: Any) -> Any:
    if isinstance(value, dict):
        still = {key: _still(inner) for key, inner in value.items() if key not in MOVING}
        for key in UNORDERED & still.keys():
            if isinstance(still[key], list):
                still[key] = sorted(still[key], key=json.dumps)
        return still
    if isinstance(value, list):
        return [_still(inner) for inner in value]
    return value
