"""What this kernel lets us do, found by doing it in a throw-away network namespace.

In: nothing. Out: `Capabilities`: each ability with the reason when it is missing, the form of interception that
follows from them, and what that form cannot see. Must never guess from version numbers and never leave anything
behind: the namespace belongs to one thread and dies with it. Called by control at start and by `conduitctl doctor`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from fastpath.abi import MARK_LANE, Form
from gateway.errors import KernelError
from gateway.kernel import interception, netlink_rule, nft
from gateway.kernel.lane import Lane
from gateway.kernel.namespace import in_throw_away_namespace
from rules.static_lane import lane_alone

if TYPE_CHECKING:
    from collections.abc import Callable

CAP_NET_ADMIN: Final = 12  # linux/capability.h
BASE: Final = "add table bridge probe\nadd chain bridge probe c { type filter hook forward priority 0; }\n"
STATUS: Final = Path("/proc/thread-self/status")


@dataclass(frozen=True, slots=True)
class Ability:
    """One thing that the kernel can do or not; `reason` says why not, `loss` what it costs, if anything."""

    name: str
    present: bool
    reason: str
    loss: str


@dataclass(frozen=True, slots=True)
class Capabilities:
    """Everything found; `form` is None when no way of interception exists."""

    abilities: tuple[Ability, ...]
    form: Form | None
    degraded: tuple[str, ...]  # what is missing and what it costs, for people

    def has(self, name: str) -> bool:
        """Say whether an ability is present."""
        return any(ability.present for ability in self.abilities if ability.name == name)

    def require_form(self, wanted: str) -> Form:
        """Return the form for the setting `auto`, `bridge` or `brnf`, or raise KernelError with the reasons."""
        possible = {"bridge": self._bridge_possible(), "brnf": self._brnf_possible()}
        chosen = next((name for name in ("bridge", "brnf") if possible[name]), None) if wanted == "auto" else wanted
        if chosen is None or not possible[chosen]:
            missing = [f"{ability.name}: {ability.reason}" for ability in self.abilities if not ability.present]
            raise KernelError("NO_INTERCEPTION", f"interception {wanted} is impossible: {'; '.join(missing)}")
        return Form.BRIDGE if chosen == "bridge" else Form.BRNF

    def _bridge_possible(self) -> bool:
        return self.has("nft_queue") and self.has("bridge")

    def _brnf_possible(self) -> bool:
        return self.has("x_tables_queue") and self.has("br_netfilter") and self.has("bridge")


# name, probe, what is lost without it
_NO_BRIDGE = "no interception at all"
_PROBES: Final[tuple[tuple[str, str], ...]] = (
    ("nft_bridge", _NO_BRIDGE),
    ("bridge", _NO_BRIDGE),
    ("nft_queue", "the engine sees untagged IP only; ARP, VLAN-tagged and layer-2 frames are judged by `static` alone"),
    ("x_tables_queue", "no interception through br_netfilter"),
    ("br_netfilter", "no interception through br_netfilter"),
    ("bridge_names", ""),
    ("vlan_filtering", "VLANs are told apart by the policy, not by the bridge"),
    ("bridge_conntrack", ""),
    ("fast_lane", 'with `lane.mode = "auto"` too, every frame is judged by the engine'),
)


def probe() -> Capabilities:
    """Try everything once; blocks for a fraction of a second."""
    found = [_privileges()]
    try:
        found += in_throw_away_namespace(_try_everything)
    except KernelError as error:
        found.append(Ability("namespace", present=False, reason=error.detail, loss="the kernel cannot be probed"))
    capabilities = Capabilities(tuple(found), None, ())
    try:
        form: Form | None = capabilities.require_form("auto")
    except KernelError:
        form = None
    return Capabilities(tuple(found), form, tuple(_degraded(found, form)))


def _degraded(found: list[Ability], form: Form | None) -> list[str]:
    quiet = {"x_tables_queue", "br_netfilter"} if form is Form.BRIDGE else set()
    return [
        f"{ability.name} is missing ({ability.reason}): {ability.loss}"
        for ability in found
        if not ability.present and ability.loss and ability.name not in quiet
    ]


def _privileges() -> Ability:
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith("CapEff:"))
    held = bool(int(line.split()[1], 16) & 1 << CAP_NET_ADMIN)
    return Ability(
        "net_admin", held, "" if held else f"uid {os.geteuid()} lacks CAP_NET_ADMIN", "nothing can be set up"
    )


def _try_everything() -> list[Ability]:
    found = [Ability("namespace", present=True, reason="", loss="")]
    tries: dict[str, Callable[[], None]] = {
        "nft_bridge": lambda: nft.apply(BASE),
        "bridge": lambda: _make_bridge("probe0"),
        "nft_queue": lambda: nft.apply(BASE + "add rule bridge probe c queue num 0 bypass\n"),
        "x_tables_queue": _try_x_tables,
        "br_netfilter": _look_for_br_netfilter,
        "bridge_names": lambda: nft.apply(BASE + 'add rule bridge probe c meta ibrname "probe0" accept\n'),
        "vlan_filtering": lambda: _make_bridge("probe1", br_vlan_filtering=1),
        "bridge_conntrack": lambda: nft.apply(BASE + "add rule bridge probe c ct state established accept\n"),
        "fast_lane": _try_lane,
    }
    for name, loss in _PROBES:
        reason = _reason(tries[name])
        found.append(Ability(name, present=not reason, reason=reason, loss=loss))
    return found


def _reason(attempt: Callable[[], None]) -> str:
    """Return why the attempt failed, or nothing."""
    try:
        attempt()
    except KernelError as error:
        return error.detail.split(": add ")[0].removeprefix("nft: line 3: ")
    except NetlinkError as error:
        return os.strerror(abs(error.code))
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _make_bridge(name: str, **settings: int) -> None:
    with IPRoute() as route:
        route.link("add", ifname=name, kind="bridge", **settings)


def _try_x_tables() -> None:
    for family in interception.FAMILIES:
        nft.apply(f"add table {family} probe\nadd chain {family} probe c {{ type filter hook forward priority 0; }}\n")
        netlink_rule.replace(family, "probe", "c", bridge="probe0", first_queue=0, queue_count=1)


def _try_lane() -> None:
    """Load the lane, open two generations one after the other, and close it."""
    nft.apply(lane_alone("probe0"))
    lane = Lane()
    try:
        for generation in (1, 2):
            lane.open_at(MARK_LANE | generation, {1: 1}, afresh=True)
        lane.close()
    finally:
        lane.forget_socket()


def _look_for_br_netfilter() -> None:
    for name in interception.CALLS:
        if not (interception.SYSCTL / name).exists():
            raise KernelError("BR_NETFILTER_MISSING", "br_netfilter is not loaded", "modprobe br_netfilter")
