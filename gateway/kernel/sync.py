"""Makes the kernel's fallback that of a policy, and proves it by reading back.

In: lowered policies, effective stages, closed conduits. Out: the ruleset in force, each change atomic, or
KernelError with the old ruleset still in force. Whether it still stands is asked by comparing what the kernel holds
with what it held right after loading it.
Must never open a gap: between any two changes one of the two rulesets is in force. Called by control.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gateway.errors import KernelError
from gateway.kernel import bridge, interception, nft, ruleset
from gateway.kernel.namespace import in_throw_away_namespace
from rules import static
from rules.static_counting import COUNTED, counting_chain, counting_script
from rules.static_guard import QUARANTINE
from rules.static_lane import GENERATION_MAP, LANE, LANE_CHAINS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet

    from fastpath.abi import Form, Stage
    from rules.records import LoweredPolicy

TABLE: Final = ("bridge", "conduit")
# What changes without anybody changing a rule of ours. Whether quarantine's lookups stand depends on who is in it.
MOVING: Final = (QUARANTINE, GENERATION_MAP)


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a load left in the kernel: keep it to ask later whether it still stands."""

    kernel_digest: str


def ensure_base(bridge_name: str) -> bool:
    """Close the bridge when no ruleset of ours stands yet; return whether it had to be done."""
    if "static" in ruleset.chains():
        return False
    nft.apply(static.render_base(sorted(bridge.ports(bridge_name))))
    if not ruleset.closes():
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
    spare = 1 if bank_in_use() == 0 else 0
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
    if not _counts():
        nft.apply(counting_script())
    nft.apply(switch)
    if not lane:
        _remove_lane()
    if bank_in_use() != spare:
        raise KernelError("STATIC_LOST", "the kernel does not judge by the ruleset that was just loaded")
    return Loaded(kernel_digest())


def apply_toggle(policy: LoweredPolicy, *, stages: Mapping[tuple[int, int], Stage], closed: AbstractSet[int]) -> Loaded:
    """Bring stages and closed conduits up to date under the ruleset that `apply_policy` loaded."""
    bank = bank_in_use()
    if bank is None:
        raise KernelError("STATIC_MISSING", "no policy's ruleset stands", "apply the policy first")
    nft.apply(static.render_toggle(policy, stages=stages, closed=closed, bank=bank))
    return Loaded(kernel_digest())


def policy_stands() -> bool:
    """Say whether some policy's ruleset is in force; which one, `stands` and `in_sync` tell."""
    return bank_in_use() is not None


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
        bank=bank_in_use() or 0,
        lane=lane,
    )


def in_sync(script: str) -> bool:
    """Say whether the kernel holds what a script of `script_of` leaves, by loading it where it does no harm.

    For a control plane that has just been started and did not load the ruleset itself. Blocks as long as a load.
    """

    def elsewhere() -> str:
        nft.apply(script)
        return kernel_digest()

    return "static" in ruleset.chains() and kernel_digest() == in_throw_away_namespace(elsewhere)


def stands(loaded: Loaded) -> bool:
    """Read the kernel back and say whether it still holds what was loaded."""
    return kernel_digest() == loaded.kernel_digest


def kernel_digest() -> str:
    """Return a digest of what judges in our table now: hooks, the bank in use, without what moves by itself.

    Whether quarantine's lookups stand depends on who is in it: `guard.stands` asks for them.
    """
    bank = bank_in_use()
    spare = () if bank is None else (f"{name}_{1 - bank}" for name in static.BANKED)
    return ruleset.judging(without={*MOVING, *spare})


def bank_in_use() -> int | None:
    """Return which bank of chains judges now; None while no policy does."""
    return static.bank_in_use("\n".join(ruleset.verdicts("static")))


def _counts() -> bool:
    """Say whether each counting chain holds its one rule; no load of a policy touches them."""
    for counter, onward in COUNTED.items():
        found = [ruleset.expressions(rule) for _, rule in ruleset.rules(counting_chain(counter))]
        spelled = [[step.verdict() or step.name for step in steps] for steps in found]
        if spelled != [["counter", onward]]:
            return False
    return True


def remove(bridge_name: str) -> None:
    """Remove our tables and release the bridge's ports: uninstalling, never a stop.

    ORDER: the ports first, so that no frame crosses the bridge without the tables.
    """
    bridge.release(bridge_name, list(bridge.ports(bridge_name)))
    interception.remove_x_tables()
    nft.delete_table(*TABLE)


def _remove_lane() -> None:
    """Remove what the lane left, after a ruleset without it is in force."""
    chains, sets = ruleset.chains(), ruleset.sets()
    standing = [f"chain {' '.join(TABLE)} {name}" for name in LANE_CHAINS if name in chains]
    flows = [f"set {' '.join(TABLE)} {name}" for name in sets if name.startswith(LANE) and name != GENERATION_MAP]
    generation = [f"map {' '.join(TABLE)} {GENERATION_MAP}"] if GENERATION_MAP in sets else []
    # Chains go to one another: all of them are emptied before the first is deleted.
    lines = [f"flush {chain}" for chain in standing] + [f"delete {what}" for what in (*standing, *flows, *generation)]
    if lines:
        nft.apply("\n".join(lines) + "\n")
