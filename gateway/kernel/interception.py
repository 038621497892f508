"""Puts frames in front of the engine: one of two forms, chosen by `probe`.

BRIDGE: the bridge table's chain `offered`, where every counted frame goes, queues, frames without IP in a queue of
their own where one is given; br_netfilter is kept out.
BRNF: br_netfilter shows bridged IP to `ip conduit` and `ip6 conduit`, whose only rule queues what crosses our bridge.
In: form, bridge, queue range. Out: the interception stands and was read back. Must never queue routed traffic, and
must be called only while `static` stands in the bridge table. Idempotent. Called by control.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from fastpath.abi import Form
from gateway.errors import KernelError
from gateway.kernel import netlink_rule, nft, readback
from rules.static import queue_statements
from rules.static_counting import OFFERED

if TYPE_CHECKING:
    from collections.abc import Sequence

TABLE: Final = "conduit"
CHAIN: Final = "judge"
FAMILIES: Final = ("ip", "ip6")
SYSCTL: Final = Path("/proc/sys/net/bridge")
CALLS: Final = ("bridge-nf-call-iptables", "bridge-nf-call-ip6tables")
# A tagged frame that reached the inet hooks would have its tag hidden from the engine: leave those to `static`.
UNTAGGED_ONLY: Final = ("bridge-nf-filter-vlan-tagged", "bridge-nf-filter-pppoe-tagged")


def install(form: Form, bridge: str, first_queue: int, queue_count: int, layer2_queue: int | None = None) -> None:
    """Make interception stand in this form and in no other; raise KernelError when the kernel does not keep it."""
    if readback.chain("bridge", TABLE, "static") is None:
        raise KernelError("STATIC_MISSING", "the chain `static` does not stand", "load the base table first")
    if form is Form.BRIDGE:
        remove_x_tables()
        _set_sysctls(CALLS, "0", required=False)
        if not _offers(first_queue, queue_count, layer2_queue):
            nft.apply(_offered(queue_statements(first_queue, queue_count, layer2_queue)))
        if not _offers(first_queue, queue_count, layer2_queue):
            raise KernelError("QUEUE_RULE_LOST", f"bridge {TABLE} {OFFERED}: the kernel does not hold our queue rule")
        return
    if _offering():
        nft.apply(_offered())
    for family in FAMILIES:
        nft.apply(
            f"add table {family} {TABLE}\n"
            f"add chain {family} {TABLE} {CHAIN} {{ type filter hook forward priority 0; policy accept; }}\n"
        )
        if not stands(family, bridge, first_queue, queue_count):
            netlink_rule.replace(family, TABLE, CHAIN, bridge=bridge, first_queue=first_queue, queue_count=queue_count)
        if not stands(family, bridge, first_queue, queue_count):
            raise KernelError("QUEUE_RULE_LOST", f"{family} {TABLE} {CHAIN}: the kernel does not hold our NFQUEUE rule")
    _set_sysctls(UNTAGGED_ONLY, "0", required=False)
    _set_sysctls(CALLS, "1", required=True)


def suspend(form: Form) -> None:
    """Offer nothing more to the engine: frames go straight to `static`, and the queues can be drained and closed.

    For a planned stop; `install` ends it. A frame that met the queue rule just before may still arrive in the queue for
    an instant: the reader drains until it has been empty for some milliseconds. Doing it again changes nothing.
    """
    if form is Form.BRIDGE:
        if _offering():
            nft.apply(_offered())
        left = ["bridge"] if _offering() else []
    else:
        for family in FAMILIES:
            if netlink_rule.rules(family, TABLE, CHAIN):
                nft.apply(f"flush chain {family} {TABLE} {CHAIN}\n")
        left = [family for family in FAMILIES if netlink_rule.rules(family, TABLE, CHAIN)]
    if left:
        raise KernelError("QUEUE_RULE_STANDS", f"still queueing after suspending: {', '.join(left)}")


def stands(family: str, bridge: str, first_queue: int, queue_count: int) -> bool:
    """Say whether the chain holds exactly our queue rule, by reading it back."""
    wanted = netlink_rule.expressions(bridge, first_queue, queue_count)
    found = netlink_rule.rules(family, TABLE, CHAIN)
    return len(found) == 1 and netlink_rule.same(found[0], wanted)


def installed(
    form: Form,
    bridge: str,
    first_queue: int,
    queue_count: int,
    layer2_queue: int | None = None,
) -> bool:
    """Say whether the whole interception stands as `install` left it; for doctor and for periodic checks."""
    if form is Form.BRIDGE:
        return _offers(first_queue, queue_count, layer2_queue)
    if any(_read_sysctl(name) != "1" for name in CALLS):
        return False
    return all(
        nft.table_exists(family, TABLE) and stands(family, bridge, first_queue, queue_count) for family in FAMILIES
    )


def remove_x_tables() -> None:
    """Delete `ip conduit` and `ip6 conduit`."""
    for family in FAMILIES:
        if nft.table_exists(family, TABLE):
            nft.delete_table(family, TABLE)


def _offered(statements: Sequence[str] = ()) -> str:
    """Return the script that makes these statements the only rules of `offered`."""
    chain = f"bridge {TABLE} {OFFERED}"
    rules = "".join(f"add rule {chain} {statement}\n" for statement in statements)
    return f"add chain {chain}\nflush chain {chain}\n{rules}"


def _offering() -> list[bytes]:
    """Return every rule in `offered`, as the kernel spells it; none when there is no such chain."""
    return netlink_rule.rules("bridge", TABLE, OFFERED)


def _offers(first_queue: int, queue_count: int, layer2_queue: int | None) -> bool:
    """Say whether `offered` holds exactly our queue statements, by reading them back."""
    wanted = netlink_rule.native(first_queue, queue_count, layer2_queue)
    found = _offering()
    return len(found) == len(wanted) and all(map(netlink_rule.same, found, wanted))


def _read_sysctl(name: str) -> str | None:
    try:
        return (SYSCTL / name).read_text().strip()
    except FileNotFoundError:
        return None


def _set_sysctls(names: tuple[str, ...], value: str, *, required: bool) -> None:
    for name in names:
        found = _read_sysctl(name)
        if found is None and not required:
            continue  # br_netfilter is not there: nothing to keep out
        if found is None:
            raise KernelError("BR_NETFILTER_MISSING", f"no {SYSCTL / name}", "modprobe br_netfilter")
        if found != value:
            (SYSCTL / name).write_text(value)
        if _read_sysctl(name) != value:
            raise KernelError("SYSCTL_LOST", f"{SYSCTL / name} did not keep {value}")
