"""A wire for the process tests: two hosts, a bridge between them, the queue rule and what follows it.

    host a (10.91.1.1) --- pa [ bridge br0 in namespace gw ] pb --- host b (10.91.2.1)

The rule queues UDP with bypass; the chain behind it counts what the engine marked and what came unjudged, and lets both
pass. A sender in a numbers its datagrams, a receiver in b notes when each arrived: gaps and losses are read from that.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from fastpath.abi import MARK_JUDGED

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).resolve().parent
ADDRESSES = {"a": "10.91.1.1", "b": "10.91.2.1"}
MACS = {"a": "02:00:00:91:01:01", "b": "02:00:00:91:02:01"}
UDP_PORT = 5000
POLICY = """\
version: 1
site: {name: wire, ceiling: enforce, default_stage: enforce}
zones:
  west: {kind: supervisory, sl_t: 1, ports: [pa], prefixes: [10.91.1.0/24]}
  east: {kind: control, sl_t: 1, ports: [pb], prefixes: [10.91.2.0/24]}
services:
  numbered: {protocol: udp, ports: [%d]}
conduits:
  west-east:
    from: {zone: west}
    to: {zone: east}
    services: [numbered]
    stage: enforce
    owner: tests
    reason: the numbered datagrams
"""


def policy_text(udp_port: int = UDP_PORT) -> str:
    """Return a policy that permits one UDP port from west to east."""
    return POLICY % udp_port


def poll(what: str, condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait until a condition holds; fail with its name at the deadline."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.002)


def run(*words: str, text: str | None = None) -> str:
    """Run one command and return its output; raise with what it said when it fails."""
    done = subprocess.run(words, input=text, capture_output=True, text=True, timeout=30, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(words)}: {done.stderr or done.stdout}")
    return done.stdout


def enter(namespace: str) -> tuple[str, ...]:
    """Return the words that run a command in a namespace."""
    return ("nsenter", f"--net=/run/netns/{namespace}")


@dataclass
class Arrivals:
    """What the receiver saw: (number, CLOCK_MONOTONIC ns) in order of arrival, and how many were sent."""

    sent: int
    seen: list[tuple[int, int]]

    def lost(self) -> int:
        """Return how many datagrams never arrived."""
        return self.sent - len({number for number, _ in self.seen})

    def longest_silence_ms(self) -> float:
        """Return the longest time between two arrivals."""
        times = [at for _, at in self.seen]
        return max((later - at for at, later in itertools.pairwise(times)), default=0) / 1e6


class Traffic:
    """A running stream of numbered datagrams; `stop` returns what arrived."""

    def __init__(self, wire: Wire, directory: Path, per_second: int) -> None:
        self._report = directory / "arrivals.json"
        talker = str(HERE / "talker.py")
        self._receiver = wire.popen("b", sys.executable, talker, "receive", str(UDP_PORT), str(self._report))
        poll("receiver is there", lambda: str(UDP_PORT) in run(*enter(wire.names["b"]), "ss", "-Huln"))
        self._sender = wire.popen("a", sys.executable, talker, "send", ADDRESSES["b"], str(UDP_PORT), str(per_second))

    def stop(self) -> Arrivals:
        """End the sender, then the receiver, and read the report."""
        self._sender.terminate()
        out, _ = self._sender.communicate(timeout=10)
        # The receiver notes silence itself: it ends when nothing came for a while after being told to.
        self._receiver.terminate()
        self._receiver.wait(timeout=10)
        seen = json.loads(self._report.read_text())
        return Arrivals(int(out), [(number, at) for number, at in seen])


class Wire:
    """The namespaces and everything in them; gone on exit, processes first."""

    def __init__(self) -> None:
        self.names = {role: f"cgpr{os.getpid()}{role}" for role in ("gw", "a", "b")}
        self._processes: list[subprocess.Popen[str]] = []

    def __enter__(self) -> Self:
        try:
            self._build()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.kill()
            process.communicate()
        for name in self.names.values():
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)

    def _build(self) -> None:
        for name in self.names.values():
            run("ip", "netns", "add", name)
        gateway = self.names["gw"]
        run(*enter(gateway), "ip", "link", "add", "br0", "type", "bridge")
        run(*enter(gateway), "ip", "link", "set", "br0", "up")
        for role in ("a", "b"):
            host, port = self.names[role], f"p{role}"
            run(*enter(gateway), "ip", "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", host)
            run(*enter(gateway), "ip", "link", "set", port, "master", "br0", "up")
            run(*enter(host), "ip", "link", "set", "eth0", "address", MACS[role], "up")
            run(*enter(host), "ip", "addr", "add", f"{ADDRESSES[role]}/16", "dev", "eth0")
        for role, other in (("a", "b"), ("b", "a")):
            neighbour = (ADDRESSES[other], "lladdr", MACS[other], "dev", "eth0", "nud", "permanent")
            run(*enter(self.names[role]), "ip", "neigh", "add", *neighbour)
        self._install_rules()

    def _install_rules(self) -> None:
        self.execute("sysctl", "-qw", "net.bridge.bridge-nf-call-iptables=1")
        self.execute(
            "iptables-nft", "-A", "FORWARD", "-p", "udp", "-j", "NFQUEUE", "--queue-num", "0", "--queue-bypass"
        )
        behind = f"""
        table ip behind {{
          counter judged {{}}
          counter unjudged {{}}
          chain forward {{ type filter hook forward priority 10; policy accept;
            meta mark {MARK_JUDGED} counter name judged accept
            meta l4proto udp counter name unjudged accept
          }}
        }}"""
        self.execute("nft", "-f", "-", text=behind)

    def execute(self, *words: str, role: str = "gw", text: str | None = None) -> str:
        """Run a command in a namespace."""
        return run(*enter(self.names[role]), *words, text=text)

    def popen(self, role: str, *words: str, stderr: Path | None = None) -> subprocess.Popen[str]:
        """Start a process in a namespace; it is killed when the wire goes."""
        with (stderr or Path(os.devnull)).open("a") as errors:
            process = subprocess.Popen(
                [*enter(self.names[role]), *words], stdout=subprocess.PIPE, stderr=errors, text=True
            )
        self._processes.append(process)
        return process

    def passed(self, counter: str) -> int:
        """Return the packets of a counter behind the queue: judged or unjudged."""
        listed = json.loads(self.execute("nft", "-j", "list", "counter", "ip", "behind", counter))
        return int(next(entry["counter"]["packets"] for entry in listed["nftables"] if "counter" in entry))

    def queue_is_bound(self) -> bool:
        """Return whether somebody owns queue 0."""
        return bool(self.execute("cat", "/proc/net/netfilter/nfnetlink_queue").strip())
