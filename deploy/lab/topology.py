"""The lab's wiring: one gateway namespace, one namespace per host, a small switch where a zone has several hosts.

In: a lab name. Out: namespaces `NAME-gw`, `NAME-sw-PORT`, `NAME-HOST`, and /run/conduit-lab-NAME/lab.json with what was
made, written before it is made, so that `down` also cleans up after a half-finished `up`.
Must never touch a namespace that is not in its own record. Called by the lab's command line, the demo, tests, bench.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, Self

from deploy.lab import namespaces, plant, processes
from deploy.lab.namespaces import LabError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

RUN_DIR: Final = Path("/run")
NAME_PATTERN: Final = re.compile(r"[a-z][a-z0-9]{0,9}")
GATEWAY: Final = "gw"
HOST_INTERFACE: Final = "eth0"
SWITCH_BRIDGE: Final = "sw0"
SWITCH_UPLINK: Final = "up0"
PLAIN_BRIDGE: Final = "br-conduit"
REAP_WITHIN_S: Final = 5.0


class Lab:
    """One water works. Usable as a context manager: up on entry, down on exit whatever happens in between."""

    def __init__(self, name: str = "cg", *, offloads: bool = False) -> None:
        if not NAME_PATTERN.fullmatch(name):
            raise LabError(f"lab name {name!r}: a lower-case letter, then up to nine letters or digits")
        self.name = name
        self.offloads = offloads
        self.directory = RUN_DIR / f"conduit-lab-{name}"
        self._started: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        try:
            self.up()
        except BaseException:
            self.down()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.down()

    def namespace(self, node: str) -> str:
        """Return the namespace of a node: `gw`, a host, or the switch `sw-PORT` of a zone."""
        if node not in self.nodes():
            raise LabError(f"no node {node!r} in the lab; there are: {', '.join(self.nodes())}")
        return f"{self.name}-{node}"

    @staticmethod
    def nodes() -> list[str]:
        """Return every node, the gateway first."""
        switches = [f"sw-{zone.port}" for zone in plant.ZONES if len(plant.hosts_of(zone)) > 1]
        return [GATEWAY, *switches, *(host.name for host in plant.HOSTS)]

    @property
    def is_up(self) -> bool:
        """Return whether a finished `up` stands recorded and its namespaces exist."""
        record = self._record()
        return bool(record.get("complete")) and all(namespaces.exists(name) for name in record["namespaces"])

    def up(self) -> None:
        """Build the lab; does nothing if it stands, rebuilds it if only half of it does."""
        if os.geteuid() != 0:
            raise LabError("the lab needs root: it creates network namespaces")
        if self.is_up:
            return
        self.down()
        names = [self.namespace(node) for node in self.nodes()]
        taken = [name for name in names if namespaces.exists(name)]
        if taken:
            raise LabError(f"namespaces exist that this lab did not make: {', '.join(taken)}; choose another lab name")
        self.directory.mkdir(mode=0o755)
        self._write_record(names, complete=False)
        for name in names:
            namespaces.create(name)
        for zone in plant.ZONES:
            self._wire(zone)
        self._write_record(names, complete=True)

    def down(self) -> None:
        """End every process of the lab, delete its namespaces and its directory."""
        record = self._record()
        recorded = [str(name) for name in record.get("namespaces", [])]
        processes.end_all(self.directory, recorded)
        for process in self._started:
            process.wait(REAP_WITHIN_S)  # ended above; take its status, so that no zombie is left
        self._started.clear()
        for name in recorded:
            namespaces.delete(name)
        if self.directory.exists():
            shutil.rmtree(self.directory)

    def plain_bridge(self) -> None:
        """Join the gateway's ports by a bridge that judges nothing: the control case of every experiment."""
        gateway = self.namespace(GATEWAY)
        namespaces.bridge_filters_off(gateway)
        lines = [f"link add {PLAIN_BRIDGE} type bridge forward_delay 0 mcast_snooping 0"]
        lines += [f"link set {port} master {PLAIN_BRIDGE}" for port in plant.PORTS]
        namespaces.batch(gateway, [*lines, f"link set {PLAIN_BRIDGE} up"])

    def run(
        self, node: str, argv: Sequence[str], *, timeout_s: float = 30.0, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on a node to its end. Raises LabError if it fails (unless check=False) or takes too long."""
        command = namespaces.inside(self.namespace(node), argv)
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=timeout_s, check=False, env=processes.environment()
            )
        except subprocess.TimeoutExpired as error:
            raise LabError(f"{node}: {' '.join(argv)}: no end within {timeout_s:.0f} s") from error
        if check and done.returncode != 0:
            raise LabError(f"{node}: {' '.join(argv)}: exit {done.returncode}: {done.stderr.strip()}")
        return done

    def start(self, node: str, argv: Sequence[str], *, log: IO[bytes] | None = None) -> subprocess.Popen[bytes]:
        """Start a command on a node and record its pid, so that `down` ends it."""
        sink = log if log is not None else subprocess.DEVNULL
        process = subprocess.Popen(
            namespaces.inside(self.namespace(node), argv),
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            env=processes.environment(),
            start_new_session=True,
        )
        self._started.append(process)
        processes.record(self.directory, process.pid)
        return process

    def _wire(self, zone: plant.LabZone) -> None:
        hosts = plant.hosts_of(zone)
        gateway = self.namespace(GATEWAY)
        if len(hosts) == 1:
            self._cable(self.namespace(hosts[0].name), HOST_INTERFACE, gateway, zone.port)
        else:
            self._switch(f"{self.name}-sw-{zone.port}", zone, hosts, gateway)
        for host in hosts:
            self._address(host)
        namespaces.batch(gateway, [f"link set {zone.port} up"])

    def _switch(self, switch: str, zone: plant.LabZone, hosts: Sequence[plant.LabHost], gateway: str) -> None:
        namespaces.bridge_filters_off(switch)
        lines = [f"link add {SWITCH_BRIDGE} type bridge forward_delay 0 mcast_snooping 0"]
        self._cable(switch, SWITCH_UPLINK, gateway, zone.port)
        for interface, host in [(f"p-{host.host}", host) for host in hosts]:
            self._cable(self.namespace(host.name), HOST_INTERFACE, switch, interface)
        for interface in [SWITCH_UPLINK, *(f"p-{host.host}" for host in hosts)]:
            lines += [f"link set {interface} master {SWITCH_BRIDGE}", f"link set {interface} up"]
        namespaces.batch(switch, [*lines, f"link set {SWITCH_BRIDGE} up"])

    def _cable(self, one: str, one_end: str, other: str, other_end: str) -> None:
        namespaces.run(
            ["ip", "link", "add", one_end, "netns", one, "type", "veth", "peer", "name", other_end, "netns", other]
        )
        if not self.offloads:
            namespaces.offloads_off(one, [one_end])
            namespaces.offloads_off(other, [other_end])

    def _address(self, host: plant.LabHost) -> None:
        namespaces.batch(
            self.namespace(host.name),
            [
                f"link set {HOST_INTERFACE} address {host.mac}",
                f"link set {HOST_INTERFACE} up",
                f"addr add {host.ip4}/{plant.PREFIX_LENGTH4} dev {HOST_INTERFACE}",
                f"addr add {host.ip6}/{plant.PREFIX_LENGTH6} dev {HOST_INTERFACE} nodad",
            ],
        )

    def _record(self) -> dict[str, Any]:
        path = self.directory / "lab.json"
        if not path.exists():
            return {}
        loaded: dict[str, Any] = json.loads(path.read_text())
        return loaded

    def _write_record(self, names: list[str], *, complete: bool) -> None:
        text = json.dumps({"name": self.name, "namespaces": names, "complete": complete}, indent=1)
        (self.directory / "lab.json").write_text(text + "\n")
