"""The bridge that frames cross: created or adopted, its ports enslaved, everything read back.

In: interface names. Out: links as asked for, or KernelError. A port is enslaved only while the chain `static` stands,
so that no frame crosses the bridge unfiltered. Must never give the bridge an address, and never touch a port's hairpin
or isolation settings. Called by control; every call blocks for some milliseconds.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from gateway.errors import KernelError
from gateway.kernel import fdb, readback

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# No STP of ours (a loop is the plant's to break), no delay before forwarding, and no IGMP or MLD snooping: a bridge
# that prunes groups would decide about multicast before the policy does.
SETTINGS: Final = {"br_stp_state": 0, "br_forward_delay": 0, "br_mcast_snooping": 0}
ATTRIBUTES: Final = {
    "br_stp_state": "IFLA_BR_STP_STATE",
    "br_forward_delay": "IFLA_BR_FORWARD_DELAY",
    "br_mcast_snooping": "IFLA_BR_MCAST_SNOOPING",
}
IPV6_SETTINGS: Final = Path("/proc/sys/net/ipv6/conf")


def ensure(name: str, *, manage: bool = True) -> int:
    """Create the bridge or adopt the one that exists; return its ifindex.

    With `manage` false only its existence is checked. An existing link of another kind is refused.
    """
    with IPRoute() as route:
        link = _find(route, name)
        if link is None:
            if not manage:
                raise KernelError("BRIDGE_MISSING", f"no bridge {name}", "create it, or set bridge.manage = true")
            _ask(f"create bridge {name}", route.link, "add", ifname=name, kind="bridge")
            link = _find(route, name)
        if link is None or _kind(link) != "bridge":
            raise KernelError("BRIDGE_NOT_ONE", f"{name} is not a bridge", "choose another bridge.name")
        index = int(link["index"])
        if manage:
            _configure(route, name, index)
    return index


def ports_ifindex(names: Sequence[str]) -> dict[str, int]:
    """Return the ifindex of each named interface that exists."""
    with IPRoute() as route:
        found = ((name, _find(route, name)) for name in names)
        return {name: int(link["index"]) for name, link in found if link is not None}


def ports(bridge: str) -> dict[str, int]:
    """Return name → ifindex of the interfaces enslaved to the bridge; none when there is no bridge."""
    with IPRoute() as route:
        link = _find(route, bridge)
        if link is None:
            return {}
        slaves = [slave for slave in route.get_links() if slave.get_attr("IFLA_MASTER") == link["index"]]
        return {str(slave.get_attr("IFLA_IFNAME")): int(slave["index"]) for slave in slaves}


def foreign_ports(bridge: str, names: Sequence[str]) -> list[str]:
    """Return the bridge's ports that are not among the names."""
    return sorted(set(ports(bridge)) - set(names))


def attach(bridge: str, names: Sequence[str]) -> None:
    """Put interfaces into the bridge and bring them up. ORDER: `static` must stand first, and is looked for."""
    static = readback.chain("bridge", "conduit", "static")
    if static is None or not static.drops:
        raise KernelError("STATIC_MISSING", "the chain `static` does not stand", "no port is attached without it")
    with IPRoute() as route:
        master = _find(route, bridge)
        if master is None:
            raise KernelError("BRIDGE_MISSING", f"no bridge {bridge}")
        for name in names:
            _attach(route, name, int(master["index"]), bridge)


def pin(bridge: str, places: Mapping[bytes, str]) -> None:
    """Bind MAC addresses to their ports (MAC → port name), exactly these and no others of ours.

    A bridge learns before any filter sees the frame: without this, one forged frame with an asset's MAC would draw the
    asset's traffic to the forger. A sticky entry does not move, and frames to a silent asset are not flooded.
    """
    enslaved = ports(bridge)
    wanted = {(mac, enslaved[port]) for mac, port in places.items() if port in enslaved}
    indexes = set(enslaved.values())
    held = fdb.sticky(indexes)
    if held == wanted:
        return
    fdb.forget(sorted(held - wanted))
    fdb.stick(sorted(wanted - held))
    if fdb.sticky(indexes) != wanted:
        raise KernelError("PIN_LOST", f"{bridge} does not hold the addresses that were bound to its ports")


def release(bridge: str, names: Sequence[str]) -> None:
    """Take interfaces out of the bridge; for removing the product, never for a stop."""
    enslaved = ports(bridge)
    with IPRoute() as route:
        for name in names:
            if name in enslaved:
                _ask(f"release {name}", route.link, "set", index=enslaved[name], master=0)


def _attach(route: IPRoute, name: str, master: int, bridge: str) -> None:
    link = _find(route, name)
    if link is None:
        raise KernelError("PORT_MISSING", f"no interface {name}", "correct zones.ports in the policy")
    held = link.get_attr("IFLA_MASTER")
    if held not in {None, 0, master}:
        raise KernelError("PORT_TAKEN", f"{name} belongs to another bridge or bond", "release it there first")
    if held != master:
        _ask(f"attach {name}", route.link, "set", index=link["index"], master=master)
    _disable_ipv6(name)
    _ask(f"bring {name} up", route.link, "set", index=link["index"], state="up")
    again = _find(route, name)
    if again is None or again.get_attr("IFLA_MASTER") != master or not again["flags"] & 1:
        raise KernelError("PORT_LOST", f"{name} is not an up port of {bridge} after attaching it")


def _configure(route: IPRoute, name: str, index: int) -> None:
    for setting, value in SETTINGS.items():
        link = _find(route, name)
        if link is not None and _bridge_value(link, ATTRIBUTES[setting]) != value:
            _ask(f"{name} {setting}={value}", route.link, "set", index=index, kind="bridge", **{setting: value})
    _disable_ipv6(name)
    _ask(f"bring {name} up", route.link, "set", index=index, state="up")
    link = _find(route, name)
    for setting, value in SETTINGS.items():
        held = None if link is None else _bridge_value(link, ATTRIBUTES[setting])
        if held not in {None, value}:  # None: built without it, so it is off
            raise KernelError("BRIDGE_SETTING_LOST", f"{name}: {setting} is {held}, not {value}")


def _disable_ipv6(name: str) -> None:
    """Keep the gateway itself silent: a port of the wire must not speak on it."""
    setting = IPV6_SETTINGS / name / "disable_ipv6"
    if setting.exists():
        setting.write_text("1")


def _find(route: IPRoute, name: str) -> Any:
    found = list(route.link_lookup(ifname=name))
    return next(iter(route.get_links(found[0])), None) if found else None


def _kind(link: Any) -> str | None:
    info = link.get_attr("IFLA_LINKINFO")
    return None if info is None else str(info.get_attr("IFLA_INFO_KIND"))


def _bridge_value(link: Any, attribute: str) -> int | None:
    info = link.get_attr("IFLA_LINKINFO")
    values = None if info is None else info.get_attr("IFLA_INFO_DATA")
    value = None if values is None else values.get_attr(attribute)
    return None if value is None else int(value)


def _ask(what: str, call: Any, *arguments: Any, **keywords: Any) -> None:
    try:
        call(*arguments, **keywords)
    except NetlinkError as error:
        raise KernelError("LINK_REFUSED", f"{what}: {error}") from error
