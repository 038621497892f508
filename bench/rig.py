"""The bench's wiring: a gateway namespace between two hosts, and what a subject needs to judge what crosses it.

    a: a0 ── pa [ br-conduit ] pb ── b0 :b          gateway namespace in the middle, one flat subnet

In: nothing but the kernel. Out: three namespaces with names of their own, a bridge with both ports and fixed
addresses, the interception that this kernel can do, the kernel's own count of queued packets. Gone on exit, whatever
happened. CPU plan for two cores: traffic (generator, sink, client and reflector) on CPU 0, the judge on CPU 1.
Both are favoured by the same niceness, so that other work on the machine disturbs less.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, Self, TypeVar

from bench import interception
from bench.interception import BRIDGE
from deploy.lab import namespaces, processes
from gateway.kernel import nft

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bench.interception import QueueCounts

TRAFFIC_CPU: Final = 0
JUDGE_CPU: Final = 1
NICENESS: Final = -15  # traffic and judges alike: what else runs on a shared machine waits
URGENT: Final = ("nice", "-n", str(NICENESS))
NORTH_PORT, SOUTH_PORT = "pa", "pb"  # the bridge's ports
NORTH_INTERFACE, SOUTH_INTERFACE = "a0", "b0"  # the hosts' ends
GATEWAY, NORTH, SOUTH = "gw", "a", "b"
RIGS: Final = "/run/conduit-bench-"  # and the pid of the bench
CLONE_NEWNET: Final = 0x40000000  # linux/sched.h
DRAINED_WITHIN_S: Final = 10.0

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Host:
    """One address on one side. `number` 1 is the namespace's own; others exist in frames and in policies only."""

    side: str  # NORTH or SOUTH
    number: int

    @property
    def ip(self) -> str:
        """Return its IPv4 address."""
        return f"10.80.{1 if self.side == NORTH else 2}.{self.number}"

    @property
    def mac(self) -> str:
        """Return its MAC address."""
        return f"02:00:0a:50:{1 if self.side == NORTH else 2:02x}:{self.number:02x}"


HOSTS: Final = tuple(Host(side, number) for side in (NORTH, SOUTH) for number in range(1, 30))


class Rig:
    """The standing wires. Use as a context manager."""

    def __init__(self, *, offloads: bool = False) -> None:
        self.offloads = offloads
        self.directory = Path(f"{RIGS}{os.getpid()}")
        self._started: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        interception.form()
        remove_left_over()
        self._before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
        try:
            self._build()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        remove(os.getpid())
        for process in self._started:
            process.wait(processes.TERMINATE_WITHIN_S)  # ended with its namespace: no zombie is left
        signal.signal(signal.SIGTERM, self._before)

    def namespace(self, node: str) -> str:
        """Return the namespace's name of GATEWAY, NORTH or SOUTH."""
        return namespace_of(os.getpid(), node)

    def netns(self, node: str) -> str:
        """Return the namespace's path."""
        return os.fspath(namespaces.NETNS_DIR / self.namespace(node))

    def start(
        self,
        node: str,
        argv: Sequence[str],
        *,
        cpu: int | None,
        stdin: int = subprocess.DEVNULL,
        stdout: int | IO[bytes] = subprocess.PIPE,
        stderr: int | IO[bytes] | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start a program in a namespace, on one CPU if given; it is ended with the rig at the latest."""
        pinned = [*URGENT, "taskset", "--cpu-list", str(cpu)] if cpu is not None else []
        command = [*pinned, *namespaces.inside(self.namespace(node), argv)]
        process = subprocess.Popen(
            command, stdin=stdin, stdout=stdout, stderr=stderr, env=processes.environment(), start_new_session=True
        )
        self._started.append(process)
        return process

    def inside(self, call: Callable[[], Result]) -> Result:
        """Run a call in the gateway namespace (a thread's own view; the process stays where it is)."""
        found: list[Result] = []
        errors: list[BaseException] = []

        def run() -> None:
            try:
                _enter(self.netns(GATEWAY))
                found.append(call())
            except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
                errors.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        if errors:
            raise errors[0]
        return found[0]

    def reset(self) -> None:
        """Take every rule, every interception and every learned address away: a plain bridge is left."""

        def clear() -> None:
            nft.apply("flush ruleset\n")  # of our own namespace
            namespaces.bridge_filters_off(self.namespace(GATEWAY))

        self.inside(clear)
        self._pin_addresses()

    def intercept(self, rules: str = "") -> None:
        """Show bridged frames to one chain: with nft rules of the subject's, or with the queue rule alone."""
        self.inside(lambda: interception.install(rules))

    def counts(self) -> QueueCounts:
        """Return what the kernel says about the queues."""
        return self.inside(interception.queue_counts)

    def drained(self) -> QueueCounts:
        """Wait until no packet waits for its verdict, then return the counts."""
        counts = processes.wait_for("the queue to be empty", self._idle_counts, DRAINED_WITHIN_S)
        return counts[0]

    def _idle_counts(self) -> tuple[QueueCounts] | None:
        counts = self.counts()
        return (counts,) if counts.waiting == 0 else None

    def _build(self) -> None:
        self.directory.mkdir(mode=0o755)
        for node in (GATEWAY, NORTH, SOUTH):
            namespaces.create(self.namespace(node))
            keys = [f"net.ipv6.conf.{which}.disable_ipv6=1" for which in ("all", "default")]
            namespaces.run(namespaces.inside(self.namespace(node), ["sysctl", "-qw", *keys]))
        self._cable(NORTH, NORTH_INTERFACE, NORTH_PORT)
        self._cable(SOUTH, SOUTH_INTERFACE, SOUTH_PORT)
        lines = [f"link add {BRIDGE} type bridge forward_delay 0 mcast_snooping 0"]
        lines += [f"link set {port} master {BRIDGE} up" for port in (NORTH_PORT, SOUTH_PORT)]
        namespaces.batch(self.namespace(GATEWAY), [*lines, f"link set {BRIDGE} up"])
        self._address(NORTH, NORTH_INTERFACE, SOUTH)
        self._address(SOUTH, SOUTH_INTERFACE, NORTH)
        self.reset()

    def _cable(self, node: str, interface: str, port: str) -> None:
        here, gateway = self.namespace(node), self.namespace(GATEWAY)
        names = ["link", "add", interface, "netns", here, "type", "veth", "peer", "name", port, "netns", gateway]
        namespaces.run(["ip", *names])
        if not self.offloads:
            namespaces.offloads_off(here, [interface])
            namespaces.offloads_off(gateway, [port])

    def _address(self, node: str, interface: str, far: str) -> None:
        own, other = Host(node, 1), Host(far, 1)
        lines = [
            f"link set {interface} address {own.mac} up",
            f"addr add {own.ip}/16 dev {interface}",
            f"neigh replace {other.ip} lladdr {other.mac} dev {interface} nud permanent",
        ]
        namespaces.batch(self.namespace(node), lines)

    def _pin_addresses(self) -> None:
        """Bind every address to its port, as conduitd does: otherwise the bridge floods what never answers."""
        ports = {NORTH: NORTH_PORT, SOUTH: SOUTH_PORT}
        lines = [f"fdb replace {host.mac} dev {ports[host.side]} master static" for host in HOSTS]
        command = namespaces.inside(self.namespace(GATEWAY), ["bridge", "-batch", "-"])
        namespaces.run(command, "\n".join(lines) + "\n")


def namespace_of(pid: int, node: str) -> str:
    """Return the name of a namespace in the rig of a bench process."""
    return f"cb{pid}-{node}"


def remove(pid: int) -> None:
    """Remove everything of one rig: processes, namespaces, files. What is not there is no error."""
    names = [namespace_of(pid, node) for node in (GATEWAY, NORTH, SOUTH)]
    folder = Path(f"{RIGS}{pid}")
    processes.end_all(folder, names)
    for name in names:
        namespaces.delete(name)
    shutil.rmtree(folder, ignore_errors=True)


def remove_left_over() -> None:
    """Remove the rigs of bench processes that were killed before they could."""
    for folder in Path(RIGS).parent.glob(f"{Path(RIGS).name}*"):
        pid = int(folder.name.removeprefix(Path(RIGS).name))
        if processes.start_ticks(pid) is None:
            remove(pid)


def _enter(netns: str) -> None:
    with Path(netns).open() as space:
        if ctypes.CDLL(None, use_errno=True).setns(space.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), netns)
