"""Refusing and limiting with the real daemon: who is refused learns it at once, nobody else hears a word.

What reached the server is read from the server's own kernel: its counts of IP packets and TCP segments.
"""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any, Final

import pytest

from deploy.lab import frames, plant
from deploy.lab.gateway import DEFAULT_POLICY, LabGateway
from deploy.lab.plant import ATTACKER
from deploy.lab.processes import wait_for
from tests.netns.gateway.conftest import closed_books, set_stage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deploy.lab.actors import Actors
    from deploy.lab.topology import Lab

pytestmark = pytest.mark.netns

VICTIM: Final = "plc-1"
MODBUS: Final = 502
FLOOD: Final = 10_000
ANSWERS_A_SECOND: Final = 100
PATIENCE_S: Final = 2.0
# One connection attempt, or one datagram and the wait for what comes back; prints the errno's name, or "timeout".
ASK: Final = """
import errno, socket, sys
kind, address, port, patience = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
family = socket.AF_INET6 if ":" in address else socket.AF_INET
with socket.socket(family, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM) as end:
    end.settimeout(patience)
    try:
        end.connect((address, port))
        if kind == "udp":
            end.send(b"hello")
            end.recv(100)
        print("connected")
    except TimeoutError:
        print("timeout")
    except OSError as error:
        print(errno.errorcode[error.errno])
"""
SEND: Final = """
import json, socket, sys
with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as link:
    link.bind(("eth0", 0))
    for frame in json.load(open(sys.argv[1])):
        link.send(bytes.fromhex(frame))
"""


@pytest.fixture
def gateway(lab: Lab) -> Iterator[LabGateway]:
    """A gateway that answers what it drops, but not between enterprise and safety, and limits two stations."""
    text = DEFAULT_POLICY.read_text()
    text = text.replace("  default_stage: enforce", "  refuse: reset\n  default_stage: enforce", 1)
    text += "  - {from: enterprise, to: safety, refuse: silent}\n"
    limit = "    limit: {new_flows: 6/min burst 3}\n"
    text = text.replace("    to: {zone: control, role: plc}\n", "    to: {zone: control, role: plc}\n" + limit, 1)
    made = LabGateway(lab, text)
    made.start()
    set_stage(made, "enforce")
    yield made
    made.stop()


def ask(lab: Lab, node: str, kind: str, address: str, port: int) -> tuple[str, float]:
    """Return what became of one attempt, and how long it took."""
    began = time.monotonic()
    said = lab.run(node, [sys.executable, "-c", ASK, kind, address, str(port), str(PATIENCE_S)])
    return said.stdout.strip(), time.monotonic() - began


def heard(lab: Lab, node: str) -> dict[str, int]:
    """Return a host's own counts of IPv4 packets and of TCP segments received."""
    lines = lab.run(node, ["cat", "/proc/net/snmp"]).stdout.splitlines()
    tables = {
        head.split(":")[0]: dict(zip(head.split()[1:], row.split()[1:], strict=True))
        for head, row in zip(lines[::2], lines[1::2], strict=True)
    }
    return {"ip": int(tables["Ip"]["InReceives"]), "tcp": int(tables["Tcp"]["InSegs"])}


def answers_sent(gateway: LabGateway) -> int:
    """Return how many answers the engine sent so far."""
    return int(gateway.api("GET", "/v1/counters")[1]["refused"])


def forbidden(gateway: LabGateway) -> int:
    """Return how many frames were kept back: by the engine, by `static`, or by a queue that was full."""
    counts = gateway.api("GET", "/v1/counters")[1]
    return int(counts["dropped"] + counts["static_dropped"] + counts["lost"])


def send(lab: Lab, node: str, made: list[bytes]) -> float:
    """Send frames from a host; return how long it took."""
    path = lab.directory / "refused.json"
    path.write_text(json.dumps([frame.hex() for frame in made]))
    began = time.monotonic()
    lab.run(node, [sys.executable, "-c", SEND, str(path)])
    return time.monotonic() - began


def openings(count: int, *, claim: str = ATTACKER, mac: str = ATTACKER) -> list[bytes]:
    """Return connection attempts on the victim, each from a port of its own."""
    aim, source = plant.host(VICTIM), plant.host(claim)
    return [
        frames.tcp(
            frames.Addresses(
                plant.host(mac).mac_bytes, aim.mac_bytes, source.ip4_bytes, aim.ip4_bytes, 20000 + number, MODBUS
            ),
            frames.SYN,
            1000,
            0,
        )
        for number in range(count)
    ]


def test_who_is_refused_learns_it_at_once(lab: Lab, actors: Actors, gateway: LabGateway) -> None:
    """TCP: connection refused; UDP: prohibited; over IPv6 the same. The server hears nothing of it."""
    aim = plant.host(VICTIM)
    before = heard(lab, VICTIM)
    for address in (aim.ip4, aim.ip6):
        said = [ask(lab, ATTACKER, "tcp", address, MODBUS), ask(lab, ATTACKER, "udp", address, 161)]
        assert [word for word, _ in said] == ["ECONNREFUSED", "EHOSTUNREACH" if address == aim.ip4 else "EACCES"]
        assert all(seconds < PATIENCE_S for _, seconds in said)
    assert heard(lab, VICTIM) == before
    assert answers_sent(gateway) == 4
    closed_books(gateway)


def test_between_silent_zones_an_attempt_hangs(lab: Lab, actors: Actors, gateway: LabGateway) -> None:
    """No answer: the client waits until it gives up."""
    actors.knows(ATTACKER, "safety-plc")
    assert ask(lab, ATTACKER, "tcp", plant.host("safety-plc").ip4, MODBUS)[0] == "timeout"
    assert answers_sent(gateway) == 0


def test_in_monitor_nothing_is_answered(lab: Lab, actors: Actors, gateway: LabGateway) -> None:
    """What passes needs no answer: the connection comes about."""
    set_stage(gateway, "monitor")
    actors.knows(VICTIM, ATTACKER)
    assert ask(lab, ATTACKER, "tcp", plant.host(VICTIM).ip4, MODBUS)[0] == "connected"
    assert answers_sent(gateway) == 0


def test_a_spoofed_sender_gets_nothing(lab: Lab, actors: Actors, gateway: LabGateway) -> None:
    """Neither another's address with one's own MAC nor with the other's: no answer leaves the gateway."""
    engineer = "eng-laptop"
    before = {node: heard(lab, node) for node in (VICTIM, ATTACKER, engineer)}
    send(lab, ATTACKER, openings(50, claim=engineer) + openings(50, claim=engineer, mac=engineer))
    wait_for("all of it to be dropped", lambda: gateway.api("GET", "/v1/counters")[1]["dropped"] >= 100, 10.0)
    assert answers_sent(gateway) == 0
    assert {node: heard(lab, node) for node in before} == before


def test_a_flood_gets_no_more_answers_than_the_rate(lab: Lab, actors: Actors, gateway: LabGateway) -> None:
    """10,000 forbidden openings: at most a burst and the rate times the time; none reaches the server."""
    before, mine = heard(lab, VICTIM), heard(lab, ATTACKER)["tcp"]
    began = time.monotonic()
    send(lab, ATTACKER, openings(FLOOD))
    wait_for("the flood to be over", lambda: forbidden(gateway) >= FLOOD, 20.0)
    allowed = ANSWERS_A_SECOND * (1 + time.monotonic() - began) + 1
    sent = answers_sent(gateway)
    assert ANSWERS_A_SECOND <= sent <= allowed
    wait_for("each answer to reach the one it is for", lambda: heard(lab, ATTACKER)["tcp"] - mine == sent, 5.0)
    assert heard(lab, VICTIM) == before
    closed_books(gateway)


def test_answers_go_on_after_the_engine_was_killed(lab: Lab, actors: Actors, gateway: LabGateway) -> None:
    """The next engine gets the keeper's socket."""
    killed = gateway.kill_child("gateway.engine")
    wait_for("a new engine", lambda: set(gateway.child_pids("gateway.engine")) - {killed}, 15.0)
    wait_for("it to judge", gateway.is_judging, 15.0)
    assert ask(lab, ATTACKER, "tcp", plant.host(VICTIM).ip4, MODBUS)[0] == "ECONNREFUSED"


def test_too_many_connections_are_refused_and_the_poll_goes_on(lab: Lab, actors: Actors, gateway: LabGateway) -> None:
    """Three connections at once, the next is reset; the one that stands is polled on. `explain` knows nothing of it."""
    poller = actors.start_poller("hmi-1", VICTIM)
    address = plant.host(VICTIM).ip4
    said = [ask(lab, "hmi-2", "tcp", address, MODBUS)[0] for _ in range(4)]
    assert said[:2] == ["connected", "connected"]
    assert said[-1] == "ECONNREFUSED"
    before: Any = poller.said()["answered"]
    wait_for("polls on the connection that stands", lambda: poller.said()["answered"] > before + 5, 10.0)
    assert poller.end()["missed"] == 0
    reasons = gateway.api("GET", "/v1/counters")[1]["by_reason"]
    assert reasons["LIMIT_FLOWS"]["dropped"] >= 1
    (row,) = [r for r in gateway.api("GET", "/v1/conduits")[1]["conduits"] if r["name"] == "hmi-polls-plcs"]
    assert row["limit"] == "new_flows 6/min burst 3"
    closed_books(gateway)
