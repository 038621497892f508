"""The ground of the experiment: the lab, a real gateway, real servers, and a station without a kernel's TCP.

    eng-laptop (packet socket) ── eng0 [ conduitd ] ctl0 ── plc-1 (pymodbus, python-snap7, cpppo)

In: nothing but the kernel. Out: `Ground`, which puts policies in force, makes events happen and asks servers. Root;
namespaces of its own, gone with the block. The far side discards frames with few hops left: a router before it would.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import contextmanager
from http import HTTPStatus
from ipaddress import IPv6Address
from itertools import count
from typing import TYPE_CHECKING, Any, Final

from deploy.lab import namespaces, plant
from deploy.lab.gateway import LabGateway
from deploy.lab.namespaces import LabError
from deploy.lab.processes import wait_for
from deploy.lab.topology import HOST_INTERFACE, Lab
from tests.evasion.packets import Ends
from tests.evasion.servers import ATTACKED, PORTS, State, ask

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator, Sequence

STATION, DEVICE = plant.host("eng-laptop"), plant.host("plc-1")
SERVERS_WITHIN_S: Final = 60.0
SETTLED_WITHIN_S: Final = 20.0
QUIET_LOOKS: Final = 3
POLICY: Final = """\
version: 1
site: {{name: evasion, ceiling: {ceiling}, default_stage: enforce}}
zones:
  engineering: {{kind: engineering, ports: [eng0], prefixes: [10.20.30.0/24, "fd20::30:0/112"]}}
  control: {{kind: control, ports: [ctl0], prefixes: [10.20.50.0/24, "fd20::50:0/112"]}}
assets:
  eng-laptop: {{zone: engineering, macs: ["02:00:0a:14:1e:0a"], ips: [10.20.30.10, "fd20::30:10"]}}
  plc-1: {{zone: control, macs: ["02:00:0a:14:32:0a"], ips: [10.20.50.10, "fd20::50:10"]}}
conduits:
  station-reads:
    from: {{asset: eng-laptop}}
    to: {{asset: plc-1}}
    services: [modbus, s7, enip]
    owner: tests
    reason: {reason}
{inspection}denials:
  - {{from: "*", to: "*", stage: enforce}}
"""
# `fail: closed`: while an engine is being started again nothing passes, so that what is judged here is inspection.
INSPECTION: Final = "    operations: [read, diagnose]\n    fail: closed\n    refuse: {refuse}\n"
FEW_HOPS: Final = """
add table inet far
add chain inet far in { type filter hook prerouting priority raw; policy accept; }
add rule inet far in ip ttl < 5 drop
add rule inet far in ip6 hoplimit < 5 drop
"""


def policy(*, inspected: bool, ceiling: str = "enforce", refuse: str = "reset", reason: str = "evasion") -> str:
    """Return the policy's text, with or without inspection."""
    inspection = INSPECTION.format(refuse=refuse) if inspected else ""
    return POLICY.format(ceiling=ceiling, inspection=inspection, reason=reason)


class Ground:
    """A standing lab with its gateway; servers come and go."""

    def __init__(self, lab: Lab, gateway: LabGateway) -> None:
        self.lab, self.gateway = lab, gateway
        self.namespace = lab.namespace(STATION.name)
        self._servers: dict[str, subprocess.Popen[bytes]] = {}
        self._numbers = count()
        self._swaps = count()
        self._current: dict[str, Any] = {}
        self.inspects = False  # whether "inspection begins" means it, or is one more swap of the control case

    @staticmethod
    def ends(version: int) -> Ends:
        """Return the addresses of station and device."""
        if version == 4:
            return Ends(STATION.mac_bytes, DEVICE.mac_bytes, STATION.ip4_bytes, DEVICE.ip4_bytes)
        addresses = (IPv6Address(STATION.ip6).packed, IPv6Address(DEVICE.ip6).packed)
        return Ends(STATION.mac_bytes, DEVICE.mac_bytes, *addresses)

    # ---- the device ----

    def start_servers(self, protocols: Sequence[str] = ATTACKED) -> None:
        """Start fresh servers, in place of any that run, and wait until they listen."""
        self.end_servers()
        self._sockets = {protocol: self.lab.directory / f"{protocol}-{next(self._numbers)}" for protocol in protocols}
        for protocol, path in self._sockets.items():
            argv = [sys.executable, "-m", "tests.evasion.servers", protocol, "--state", os.fspath(path)]
            with path.with_suffix(".log").open("wb") as log:
                self._servers[protocol] = self.lab.start(DEVICE.name, argv, log=log)
        for protocol in protocols:
            wait_for(f"the {protocol} server", lambda name=protocol: self._listens(name), SERVERS_WITHIN_S)

    def end_servers(self) -> None:
        """End the servers that run."""
        for server in self._servers.values():
            server.kill()
            server.wait()
        self._servers.clear()

    def pause(self, protocol: str) -> None:
        """Let a server think until `resume`: its kernel still acknowledges what it is asked."""
        self._servers[protocol].send_signal(signal.SIGSTOP)

    def resume(self, protocol: str) -> None:
        """Let it answer."""
        self._servers[protocol].send_signal(signal.SIGCONT)

    def _listens(self, protocol: str) -> bool:
        server = self._servers[protocol]
        if server.poll() is not None:
            log = self._sockets[protocol].with_suffix(".log").read_text(errors="replace")
            raise LabError(f"the {protocol} server ended: {log[-1000:]}")
        listening = self.lab.run(DEVICE.name, ["ss", "-Hltn", f"sport = :{PORTS[protocol]}"]).stdout
        return bool(listening.strip()) and self._sockets[protocol].exists()

    def states(self) -> dict[str, State]:
        """Return what the servers say of themselves, once it does not change any more."""
        seen: list[dict[str, State]] = []

        def settled() -> bool:
            seen.append({protocol: ask(path) for protocol, path in self._sockets.items()})
            return len(seen) >= QUIET_LOOKS and all(one == seen[-1] for one in seen[-QUIET_LOOKS:])

        wait_for("the servers to be quiet", settled, SETTLED_WITHIN_S)
        return seen[-1]

    # ---- the gateway ----

    def apply(self, **terms: Any) -> None:
        """Put a policy in force (`policy` says what `terms` are). Raises LabError when it is refused."""
        self._current = terms
        text = policy(**terms)
        body = {"text": text, "name": "evasion", "force": True, "reason": "evasion"}
        status, answer = self.gateway.api("POST", "/v1/policy", body)
        if status != HTTPStatus.OK:
            raise LabError(f"the policy was refused: {status} {answer}")

    def before_inspection(self) -> None:
        """Put the same policy in force without inspection: conversations are about to be opened under it."""
        self.apply(**(self._current | {"inspected": False, "reason": f"before {next(self._swaps)}"}))

    async def happen(self, event: str) -> None:
        """Make one of the events happen, and return when it has."""
        await asyncio.to_thread(self._happen, event)

    def _happen(self, event: str) -> None:
        if event == "engine killed":
            before = self.gateway.kill_child("gateway.engine")
            wait_for("another engine", lambda: self._another_engine(before), SERVERS_WITHIN_S)
        elif event == "policy swapped":
            self.apply(**(self._current | {"reason": f"swap {next(self._swaps)}"}))
        elif event == "inspection begins":
            self.apply(**(self._current | {"inspected": self.inspects, "reason": f"late {next(self._swaps)}"}))
        else:
            raise ValueError(event)

    def _another_engine(self, before: int | None) -> bool:
        running = self.gateway.child_pids("gateway.engine")
        return bool(running) and before not in running and self.gateway.is_judging()

    def account(self) -> dict[str, Any]:
        """Return the gateway's counters."""
        _, body = self.gateway.api("GET", "/v1/counters")
        return dict(body)


@contextmanager
def ground(*, raw: bool = True) -> Iterator[Ground]:
    """Build everything but the servers, with an uninspected conduit in force that lets all pass.

    raw: the station's addresses belong to a packet socket instead of its kernel.
    """
    with Lab(f"e{os.getpid() % 100_000_000}") as lab:
        if raw:
            _prepare(lab)
        gateway = LabGateway(lab, policy(inspected=False, ceiling="monitor"))
        gateway.start()
        made = Ground(lab, gateway)
        yield made
        made.end_servers()
        gateway.stop()


def _prepare(lab: Lab) -> None:
    """Take the station's addresses from its kernel, and let the device know them without asking."""
    namespaces.batch(lab.namespace(STATION.name), [f"addr flush dev {HOST_INTERFACE}"])
    lines = [
        f"neigh replace {address} lladdr {STATION.mac} nud permanent dev {HOST_INTERFACE}"
        for address in (STATION.ip4, STATION.ip6)
    ]
    namespaces.batch(lab.namespace(DEVICE.name), lines)
    namespaces.run(namespaces.inside(lab.namespace(DEVICE.name), ["nft", "-f", "-"]), FEW_HOPS)
