"""Makes the kernel's fallback that of a policy, and proves it by reading back.

In: lowered policies, effective stages, closed conduits. Out: the ruleset in force, each change atomic, or
KernelError with the old ruleset still in force. Whether it still stands is asked by comparing the kernel's own listing
with the one taken right after loading it.
Must never open a gap: between any two changes one of the two rulesets is in force. Called by control.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NotRequired, TypedDict, Unpack

from gateway.errors import KernelError
from gateway.kernel import bridge, interception, nft, readback
from gateway.kernel.expressions import expressions
from gateway.kernel.namespace import in_throw_away_namespace
from rules import static
from rules.static_counting import COUNTED, counting_chain, counting_script
from rules.static_declarations import BANKS
from rules.static_guard import QUARANTINE
from rules.static_lane import GENERATION_MAP, LANE_CHAINS, LANE_SETS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet

    from fastpath.abi import Form, Stage
    from rules.records import LoweredPolicy

TABLE: Final = ("bridge", "conduit")
# What changes without anybody changing a rule of ours. Whether quarantine's lookups stand depends on who is in it.
MOVING: Final = (QUARANTINE, GENERATION_MAP)


class Wiring(TypedDict):
    """How frames come to the engine, whatever the policy: words of `rules.static.render_parts`."""

    form: Form
    first_queue: int
    queue_count: int
    layer2_queue: int | None
    lane: NotRequired[bool]


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a load left in the kernel: keep it to ask later whether it still stands."""

    kernel_digest: str
    generation: int = field(compare=False)  # of all rulesets, when the kernel was last found to hold it


@dataclass(frozen=True, slots=True)
class Spare:
    """A bank that was filled and judges nothing yet."""

    policy: LoweredPolicy
    bank: int
    wiring: Wiring
    judged: tuple[Mapping[tuple[int, int], Stage], AbstractSet[int]]  # stages and closed conduits that are in it


def _loaded() -> Loaded:
    """Return what stands now. ORDER: the number first, so that a change in between is not taken for known."""
    number = readback.generation()
    return Loaded(kernel_digest(), number)


def ensure_base(bridge_name: str) -> bool:
    """Close the bridge when no ruleset of ours stands yet; return whether it had to be done."""
    if readback.chain(*TABLE, "static") is not None:
        return False
    nft.apply(static.render_base(sorted(bridge.ports(bridge_name))))
    held = readback.chain(*TABLE, "static")
    if held is None or not held.drops:
        raise KernelError("BASE_LOST", "the kernel does not hold the closed base table")
    return True


def fill_spare(
    policy: LoweredPolicy,
    *,
    stages: Mapping[tuple[int, int], Stage],
    closed: AbstractSet[int],
    **wiring: Unpack[Wiring],
) -> Spare:
    """Load a policy's rules into the bank that judges nothing: what takes long about a large one.

    `stages` are effective: under the ceiling. Small transactions come in between and do not wait for it.
    """
    spare = 1 if bank_in_use() == 0 else 0
    lane = wiring.get("lane", False)
    nft.apply(static.render_bank(policy, form=wiring["form"], stages=stages, closed=closed, bank=spare, lane=lane))
    return Spare(policy, spare, wiring, (stages, closed))


def apply_policy(
    policy: LoweredPolicy,
    *,
    bridge_name: str,
    stages: Mapping[tuple[int, int], Stage],
    closed: AbstractSet[int],
    spare: Spare | None = None,
    **wiring: Unpack[Wiring],
) -> Loaded:
    """Put a policy's ruleset in force: the spare bank is filled, then one transaction switches to it.

    `stages` are effective: under the ceiling. `spare` was filled for this policy, perhaps with other stages, which are
    brought up to date first. On an error the old ruleset goes on.
    """
    if spare is None or spare.policy is not policy or spare.wiring != wiring or spare.bank == bank_in_use():
        spare = fill_spare(policy, stages=stages, closed=closed, **wiring)
    elif (stages, closed) != spare.judged:
        nft.apply(static.render_toggle(policy, stages=stages, closed=closed, bank=spare.bank))
    if not _counts():
        nft.apply(counting_script())
    nft.apply(static.render_switch(policy, bridge_ports=sorted(bridge.ports(bridge_name)), bank=spare.bank, **wiring))
    if not wiring.get("lane"):
        _remove_lane()
    if bank_in_use() != spare.bank:
        raise KernelError("STATIC_LOST", "the kernel does not judge by the ruleset that was just loaded")
    return _loaded()


def apply_toggle(policy: LoweredPolicy, *, stages: Mapping[tuple[int, int], Stage], closed: AbstractSet[int]) -> Loaded:
    """Bring stages and closed conduits up to date under the ruleset that `apply_policy` loaded."""
    bank = bank_in_use()
    if bank is None:
        raise KernelError("STATIC_MISSING", "no policy's ruleset stands", "apply the policy first")
    nft.apply(static.render_toggle(policy, stages=stages, closed=closed, bank=bank))
    return _loaded()


def policy_stands() -> bool:
    """Say whether some policy's ruleset is in force; which one, `stands` and `in_sync` tell."""
    return bank_in_use() is not None


def script_of(
    policy: LoweredPolicy,
    *,
    bridge_name: str,
    stages: Mapping[tuple[int, int], Stage],
    closed: AbstractSet[int],
    **wiring: Unpack[Wiring],
) -> str:
    """Return the whole ruleset of a policy for the ports that the bridge has now and the bank that is in use."""
    return static.render(
        policy,
        stages=stages,
        closed=closed,
        bridge_ports=sorted(bridge.ports(bridge_name)),
        bank=bank_in_use() or 0,
        **wiring,
    )


def in_sync(script: str) -> bool:
    """Say whether the kernel holds what a script of `script_of` leaves, by loading it where it does no harm.

    For a control plane that has just been started and did not load the ruleset itself. Blocks as long as a load.
    """

    def elsewhere() -> str:
        nft.apply(script)
        return kernel_digest()

    return readback.chain(*TABLE, "static") is not None and kernel_digest() == in_throw_away_namespace(elsewhere)


def stands(loaded: Loaded) -> Loaded | None:
    """Read the kernel back; return what to ask with next time while it still holds what was loaded, else None.

    While nobody changes a ruleset this is one question. Else it takes seconds for 100,000 assets.
    """
    if readback.generation() == loaded.generation:
        return loaded
    now = _loaded()
    return now if now == loaded else None


def kernel_digest() -> str:
    """Return a digest of what judges in our table now: hooks, the bank in use, without what moves by itself.

    Whether quarantine's lookups stand depends on who is in it: `guard.stands` asks for them.
    """
    bank = bank_in_use()
    spare = "" if bank is None else f"_{1 - bank}"
    return readback.digest(*TABLE, without=MOVING, spare=spare)


def bank_in_use() -> int | None:
    """Return which bank of chains judges now; None while no policy does."""
    chain = readback.chain(*TABLE, "static")
    return next((bank for bank in BANKS if chain is not None and chain.mentions(f"entry_{bank}")), None)


def _counts() -> bool:
    """Say whether each counting chain holds its one rule; no load of a policy touches them."""
    for counter, onward in COUNTED.items():
        held = readback.chain(*TABLE, counting_chain(counter))
        rules = [expressions(rule) for rule in held.rules] if held is not None else []
        if [[step.verdict() or step.name for step in steps] for steps in rules] != [["counter", onward]]:
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
    standing = set(readback.names(*TABLE))
    place = " ".join(TABLE)
    chains = [f"chain {place} {name}" for name in LANE_CHAINS if name in standing]
    sets = [f"set {place} {name}" for name in LANE_SETS if name in standing]
    sets += [f"map {place} {GENERATION_MAP}"] if GENERATION_MAP in standing else []
    # Chains go to one another: all of them are emptied before the first is deleted.
    lines = [f"flush {chain}" for chain in chains] + [f"delete {what}" for what in (*chains, *sets)]
    if lines:
        nft.apply("\n".join(lines) + "\n")
