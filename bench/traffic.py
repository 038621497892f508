"""Traffic through the rig: numbered streams counted exactly, and round trips.

In: a standing rig or another site with hosts, flows, a rate. Out: `Trial` (sent, received, lost, reordered, duplicated,
per flow too) and `Trips` (every round trip). Generator, sink and echo are the programs of bench/native, on the traffic
CPU of the rig. Every run has a number of its own in each frame, so that nothing left over from before is counted.
"""

from __future__ import annotations

import array
import itertools
import json
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

from bench.native import program
from bench.rig import NORTH, NORTH_INTERFACE, SOUTH, SOUTH_INTERFACE, TRAFFIC_CPU, Host, Rig

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

FRAME_BYTES: Final = 78  # small, as polls are: 36 bytes of UDP payload
POLL_PORTS: Final = (5000, 5001, 5002, 5003)
ECHO_PORT: Final = 5100
BULK_PORT: Final = 5201
FORBIDDEN_PORT: Final = 6000
CLIENT_PORT: Final = 40000
HOSTS_A_SIDE: Final = tuple(range(10, 14))
SETTLE_MS: Final = 50  # of silence, after which nothing more is expected
NO_ANSWER: Final = 0xFFFFFFFF
END_WITHIN_S: Final = 30.0
_run_numbers = itertools.count(1)


class End(Protocol):
    """One end of a flow, as it claims to be."""

    @property
    def ip(self) -> str:
        """Return its IPv4 address."""

    @property
    def mac(self) -> str:
        """Return its MAC address."""


class Site(Protocol):
    """Where the programs run: the rig, or a laboratory."""

    directory: Path

    def start(self, node: str, argv: Sequence[str], *, cpu: int | None, stdin: int = ...) -> subprocess.Popen[bytes]:
        """Start a program on a host, on one CPU if given; its output is ours to read."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where frames leave or arrive."""

    node: str
    interface: str


@dataclass(frozen=True, slots=True)
class Flow:
    """One 5-tuple; of two flows, one of weight 3 is sent three times as often as one of weight 1."""

    source: End
    destination: End
    source_port: int
    port: int
    protocol: str = "udp"
    frame_bytes: int = FRAME_BYTES
    weight: int = 1

    def line(self) -> str:
        """Return it as the generator reads it."""
        ends = f"{self.source.mac} {self.destination.mac} {self.source.ip} {self.destination.ip}"
        return f"{ends} {self.protocol} {self.source_port} {self.port} {self.frame_bytes} {self.weight}\n"

    def reversed(self) -> Flow:
        """Return the other direction."""
        return Flow(self.destination, self.source, self.port, self.source_port, self.protocol, self.frame_bytes)


@dataclass(frozen=True, slots=True)
class Trial:
    """What became of one stream. `by_flow`: (sent, received, reordered, duplicated) of each flow, in order."""

    rate: float  # packets per second asked for; 0 = as fast as it goes
    sent: int
    received: int
    reordered: int
    duplicated: int
    seconds: float
    ring_dropped: int  # the sink's own failure: then nothing of this trial counts
    by_flow: tuple[tuple[int, int, int, int], ...]

    @property
    def lost(self) -> int:
        """Return how many never arrived."""
        return self.sent - self.received

    @property
    def achieved(self) -> float:
        """Return the packets per second that the generator really sent."""
        return self.sent / self.seconds

    @property
    def perfect(self) -> bool:
        """Return whether every packet arrived, once and in order."""
        return not (self.lost or self.reordered or self.duplicated or self.ring_dropped)


@dataclass(frozen=True, slots=True)
class Trips:
    """Round trips in microseconds, in the order of the requests; unanswered ones are not among them."""

    sent: int
    seconds: float
    microseconds: list[float]

    @property
    def unanswered(self) -> int:
        """Return how many requests got no answer."""
        return self.sent - len(self.microseconds)


IN_NORTH: Final = Place(NORTH, NORTH_INTERFACE)
IN_SOUTH: Final = Place(SOUTH, SOUTH_INTERFACE)


def poll_flows() -> list[Flow]:
    """Return the permitted flows of most suites: 4 hosts poll 4 others on 4 ports, 64 flows."""
    ends = itertools.product(HOSTS_A_SIDE, HOSTS_A_SIDE, enumerate(POLL_PORTS))
    return [Flow(Host(NORTH, a), Host(SOUTH, b), CLIENT_PORT + index, port) for a, b, (index, port) in ends]


def forbidden_flows() -> list[Flow]:
    """Return the same flows to a port that no conduit permits."""
    return [Flow(flow.source, flow.destination, flow.source_port, FORBIDDEN_PORT) for flow in poll_flows()]


def stream(rig: Rig, flows: Sequence[Flow], rate: float, count: int, *, burst: int = 1) -> Trial:
    """Send `count` frames from north to south at a rate and count what arrives. Blocks until all is counted."""
    with Sink(rig, flows) as sink:
        said = send(rig, flows, rate, count, run=sink.run, burst=burst)
        return sink.trial(rate, said)


class Sink:
    """The counting end of one run; for several senders, or for things that happen between sending and counting."""

    def __init__(
        self, site: Site, flows: Sequence[Flow], *, settle_ms: int = SETTLE_MS, place: Place = IN_SOUTH
    ) -> None:
        self.run = str(next(_run_numbers))
        which = ["--interface", place.interface, "--run", self.run, "--flows", str(len(flows))]
        argv = [program("sink"), *which, "--settle-ms", str(settle_ms)]
        self._process = site.start(place.node, argv, cpu=TRAFFIC_CPU, stdin=subprocess.PIPE)

    def __enter__(self) -> Self:
        await_ready(self._process)
        return self

    def __exit__(self, *_: object) -> None:
        _end(self._process)

    def trial(self, rate: float, sent: dict[str, Any]) -> Trial:
        """Wait until nothing more arrives, then compare with what `send` said."""
        counted = json.loads(self._process.communicate(timeout=END_WITHIN_S)[0])
        by_flow = tuple((asked, *found) for asked, found in zip(sent["by_flow"], counted["by_flow"], strict=True))
        return Trial(
            rate=rate,
            sent=sent["sent"],
            received=counted["received"],
            reordered=sum(flow[2] for flow in by_flow),
            duplicated=sum(flow[3] for flow in by_flow),
            seconds=sent["seconds"],
            ring_dropped=counted["ring_dropped"],
            by_flow=by_flow,
        )


def send(
    site: Site,
    flows: Sequence[Flow],
    rate: float,
    count: int,
    *,
    run: str = "0",
    burst: int = 1,
    place: Place = IN_NORTH,
    seconds: float = 0.0,
    spread: int = 0,
) -> dict[str, Any]:
    """Send only. Returns what the generator says, whose words `seconds` and `spread` are."""
    path = site.directory / f"flows-{place.node}"
    path.write_text("".join(flow.line() for flow in flows))
    pace = ["--run", run, "--count", str(count), "--rate", str(rate), "--burst", str(burst), "--spread", str(spread)]
    pace += ["--seconds", str(seconds)] if seconds else []
    argv = [program("generate"), "--interface", place.interface, "--flows", str(path), *pace]
    generator = site.start(place.node, argv, cpu=TRAFFIC_CPU)
    try:
        expected = END_WITHIN_S + (seconds or (count / rate if rate else 0))
        said: dict[str, Any] = json.loads(generator.communicate(timeout=expected)[0])
    finally:
        _end(generator)
    return said


def round_trips(rig: Rig, rate: float, count: int) -> Trips:
    """Send requests from the client in the north to the reflector in the south; return every round trip."""
    out = rig.directory / "trips"
    places = ["--client-netns", rig.netns(NORTH), "--reflector-netns", rig.netns(SOUTH)]
    ends = ["--client", f"{Host(NORTH, 1).ip}:{CLIENT_PORT}", "--reflector", f"{Host(SOUTH, 1).ip}:{ECHO_PORT}"]
    argv = [program("echo"), *places, *ends, "--rate", str(rate), "--count", str(count), "--out", str(out)]
    echo = rig.start(NORTH, argv, cpu=TRAFFIC_CPU)
    try:
        said = json.loads(echo.communicate(timeout=END_WITHIN_S + count / rate)[0])
    finally:
        _end(echo)
    nanoseconds = array.array("I", out.read_bytes())
    trips = [value / 1000 for value in nanoseconds if value != NO_ANSWER]
    return Trips(sent=said["sent"], seconds=said["seconds"], microseconds=trips)


def await_ready(process: subprocess.Popen[bytes]) -> None:
    """Wait until a program says that it is. Raises RuntimeError when it does not."""
    assert process.stdout is not None
    if process.stdout.readline().strip() != b"ready":
        raise RuntimeError(f"{process.args!r} did not start")


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.kill()
        process.wait()
