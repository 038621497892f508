"""The tape: what is written is read again, what is too much is forgotten from the oldest end, and replaying answers."""

from __future__ import annotations

import asyncio
import ipaddress
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from fastpath.abi import EVENT_TCP_OPENING, NO_CONDUIT
from gateway.control.keeper_port import EngineStatus
from gateway.control.kernel_port import KernelView, QueueStats
from gateway.control.names import NameBook, Names
from gateway.errors import ConfigError
from gateway.settings import TapeSettings
from gateway.tape.direction import Direction
from gateway.tape.lines import line, observations
from gateway.tape.recorder import SIGHTS_MAX, Recorder
from gateway.tape.replay import TapeReplay
from gateway.tape.sight import Sight, Sum
from gateway.tape.store import DAY_NS, SLOT_NS, Observation, Tape
from gateway.tape.summary import summary
from rules.compile import compile_text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOW = 1_790_000_000_000_000_000 // SLOT_NS * SLOT_NS
POLICY = """
version: 1
site: {name: plant, ceiling: enforce, default_stage: enforce}
zones:
  office: {kind: supervisory, ports: [p0], prefixes: [10.0.0.0/24]}
  cell: {kind: control, ports: [p1], prefixes: [10.1.0.0/24]}
assets:
  pc: {zone: office, ips: [10.0.0.1], macs: ["02:00:00:00:00:01"]}
  plc: {zone: cell, ips: [10.1.0.1], macs: ["02:00:00:00:00:02"]}
conduits:
  polls: {from: {asset: pc}, to: {asset: plc}, services: [modbus]}
"""


def sight(**changes: Any) -> Sight:
    """Return the poll of POLICY's conduit, or something else."""
    usual = Sight(
        source="10.0.0.1", destination="10.1.0.1", source_mac="02:00:00:00:00:01", ethertype=0x0800, protocol=6,
        number=502, reply=0, in_port="p0", out_port="p1", vlan=0, source_zone="office", destination_zone="cell",
        source_asset="pc", destination_asset="plc", service="modbus", operation="", conduit="polls", verdict="accept",
        policy_verdict="accept", reason="POLICY_CONDUIT", stage="", digest="0123456789ab",
    )  # fmt: skip
    return usual._replace(**changes)


def test_sums_of_one_sight_come_together_by_quarters_of_an_hour(tmp_path: Path) -> None:
    tape = Tape(tmp_path / "tape.sqlite")
    tape.write({sight(): Sum(NOW, NOW + 5, 1, 10, 100)})
    tape.write({sight(): Sum(NOW + 7, NOW + 9, 1, 1, 1)})
    tape.write({sight(): Sum(NOW + SLOT_NS, NOW + SLOT_NS + 1, 0, 2, 20), sight(number=80): Sum(NOW, NOW, 1, 1, 60)})
    found = list(tape.observations())
    assert found == [
        Observation(sight(), Sum(NOW, NOW + SLOT_NS + 1, 2, 13, 121), (NOW, NOW + SLOT_NS)),
        Observation(sight(number=80), Sum(NOW, NOW, 1, 1, 60), (NOW,)),
    ]
    assert [one.sight.number for one in tape.observations(since_ns=NOW + SLOT_NS)] == [502]
    tape.close()
    again = Tape(tmp_path / "tape.sqlite", only_look=True)
    assert list(again.observations()) == found


def test_old_rows_go_first_and_what_went_is_counted() -> None:
    tape = Tape(None)
    for day in range(10):
        tape.write({sight(number=day): Sum(NOW - day * DAY_NS, NOW - day * DAY_NS, 1, 1, 1)})
    assert tape.prune(NOW, keep_days=5, max_bytes=1 << 30) == 4
    assert sorted(one.sight.number for one in tape.observations()) == [0, 1, 2, 3, 4, 5]
    extent = tape.extent()
    assert (extent.rows, extent.sights, extent.forgotten_rows) == (6, 6, 4)


def test_the_file_is_bounded_in_size_and_the_newest_stays(tmp_path: Path) -> None:
    tape = Tape(tmp_path / "tape.sqlite")
    for quarter in range(40):
        at = NOW + quarter * SLOT_NS
        tape.write({sight(number=number): Sum(at, at, 1, 1, 1) for number in range(1000)})
    assert tape.extent().bytes > 1 << 20
    tape.prune(NOW, keep_days=3000, max_bytes=1 << 20)
    extent = tape.extent()
    assert extent.bytes <= 1 << 20 or extent.rows == 1000
    assert extent.last_ns == NOW + 39 * SLOT_NS
    assert extent.forgotten_rows + extent.rows == 40_000


def test_an_export_says_the_same() -> None:
    kept = Observation(sight(), Sum(NOW, NOW + 5, 1, 10, 100), (NOW,))
    assert list(observations([line(kept), b"\n"], "x")) == [kept]


@pytest.mark.parametrize("broken", [b"{}", b"[]", b"not json", line(Observation(sight(), Sum(1, 1), ())), b"null"])
def test_a_line_that_is_none_is_refused_with_its_place(broken: bytes) -> None:
    with pytest.raises(ConfigError, match="x:2"):
        list(observations([line(Observation(sight(), Sum(1, 1), (0,))), broken], "x"))


CASES = {
    "permitted": (sight(), "accept", "POLICY_CONDUIT"),
    "other service": (sight(number=80), "drop", "POLICY_NO_CONDUIT"),
    "spoofed": (sight(source_mac="02:00:00:00:00:99"), "drop", "IDENTITY_SOURCE_MAC"),
    "by zone where the port is not known": (sight(in_port="", out_port=""), "accept", "POLICY_CONDUIT"),
    "zone that is no more": (sight(in_port="", source_zone="gone"), "drop", "IDENTITY_PORT_UNKNOWN"),
    "frame without IP": (
        sight(source="02:00:00:00:00:01", destination="02:00:00:00:00:02", ethertype=0x88B8, protocol=0, number=0),
        "drop", "POLICY_NO_CONDUIT",
    ),
    "resolution": (sight(ethertype=0x0806, protocol=0, number=0), "accept", "NEIGHBOUR_RESOLUTION"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_candidate_answers_as_the_engine_would(name: str) -> None:
    seen, verdict, reason = CASES[name]
    replay = TapeReplay(compile_text(POLICY))
    (found,) = replay.run([Observation(seen, Sum(NOW, NOW, 1, 1, 1), (NOW,))])
    assert found.said is not None
    assert (found.said.policy_verdict, found.said.reason) == (verdict, reason)
    assert found.is_lost == (verdict == "drop")


def test_what_cannot_be_made_again_is_passed_on() -> None:
    broken = sight(reason="FRAME_TRUNCATED", policy_verdict="drop")
    discovery = sight(source="fd00::1", destination="fd00::2", ethertype=0x86DD, protocol=58, number=135)
    replay = TapeReplay(compile_text(POLICY))
    found = list(replay.run([Observation(one, Sum(NOW, NOW, 1, 1, 1), (NOW,)) for one in (broken, discovery)]))
    assert [(one.said, one.is_lost, one.is_gained) for one in found] == [(None, False, False)] * 2


class Flows:
    """A flow table that a test fills."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def flows(self) -> Iterator[dict[str, Any]]:
        """Yield them."""
        yield from self.rows


class Rig:
    """A recorder over made-up flows and events."""

    def __init__(self) -> None:
        compiled = compile_text(POLICY)
        lowered = compiled.lowered
        book = NameBook()
        book.add(Names(lowered, 7))
        self.flows = Flows()
        self.tape = Tape(None)
        core = SimpleNamespace(
            book=book,
            trouble={},
            settings=SimpleNamespace(tape=TapeSettings()),
            current=SimpleNamespace(
                lowered=lowered, compiled=compiled, state=SimpleNamespace(ports=lambda: self.ports)
            ),
            keeper=SimpleNamespace(engine=EngineStatus("judging", 1, 0)),
            kernel=SimpleNamespace(view=lambda: self.kernel),
            rulesets_gone=0,
        )
        self.ports = {101: 1, 102: 2}  # by ifindex
        self.kernel = KernelView({"frames_before_queue": (9, 900), "static": (0, 0)}, [QueueStats(0, 0, 0, 0)])
        self.lost = 0
        pump = SimpleNamespace(lost=lambda: self.lost, unrenderable=0)
        plane: Any = SimpleNamespace(core=core, flows=self.flows, pump=pump)
        self.core = core
        self.recorder = Recorder(plane, self.tape)
        self.digest = lowered.digest.hex()

    def flow(self, **changes: Any) -> dict[str, Any]:
        """Return a record of a poll, answered once."""
        usual = {
            "opener": mapped("10.0.0.1"), "opener_port": 50000, "responder": mapped("10.1.0.1"), "responder_port": 502,
            "protocol": 6, "opener_zone": 1, "responder_zone": 2, "queue": 0, "conduit": 0, "opener_asset": 0,
            "responder_asset": 1, "generation": 7, "opener_mac": bytes.fromhex("020000000001"),
            "responder_mac": bytes(6), "service": 0, "opener_frames": 3, "responder_frames": 2, "opener_bytes": 300,
            "responder_bytes": 200, "first_seen_ns": NOW, "last_seen_ns": NOW + 10,
        }  # fmt: skip
        return usual | changes

    def event(self, **changes: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return (raw, rendered) of the opening of that poll."""
        raw = {
            "protocol": 6, "source_port": 50000, "destination_port": 502, "ethertype": 0x0800, "vlan": 0,
            "time_ns": NOW, "length": 60,
            "flags": 0, "source": mapped("10.0.0.1"),
            "destination": mapped("10.1.0.1"), "conduit": NO_CONDUIT,
        }  # fmt: skip
        text = {
            "reason": "POLICY_CONDUIT", "policy_verdict": "accept", "verdict": "accept", "src_ip": "10.0.0.1",
            "dest_ip": "10.1.0.1", "src_mac": "02:00:00:00:00:01", "in_iface": "p0", "out_iface": "p1",
            "src_zone": "office", "dest_zone": "cell", "src_asset": "pc", "dest_asset": "plc", "conduit": "polls",
            "stage": "enforce", "digest": self.digest[:12],
        }  # fmt: skip
        return raw, text | changes

    def write(self) -> dict[Sight, Sum]:
        """Let the recorder write, and return what is on the tape."""
        asyncio.run(self.recorder.write())
        return {one.sight: one.sum for one in self.tape.observations()}


def mapped(text: str) -> bytes:
    """Return an address as the segments hold it."""
    return bytes(10) + b"\xff\xff" + ipaddress.IPv4Address(text).packed


def test_a_flow_is_counted_once_with_its_frames() -> None:
    rig = Rig()
    rig.recorder.take(*rig.event())
    rig.flows.rows = [rig.flow()]
    (only,) = rig.write().values()
    assert (only.flows, only.frames, only.bytes) == (1, 5, 500)
    rig.flows.rows = [rig.flow(opener_frames=5, responder_frames=4, opener_bytes=500, responder_bytes=400)]
    (only,) = rig.write().values()
    assert (only.flows, only.frames, only.bytes) == (1, 9, 900)
    (only,) = rig.write().values()
    assert (only.flows, only.frames, only.bytes) == (1, 9, 900)


def test_a_flow_without_an_event_is_counted_when_its_record_is_seen() -> None:
    rig = Rig()
    rig.flows.rows = [rig.flow()]
    ((found, total),) = rig.write().items()
    assert (total.flows, total.frames) == (1, 5)
    assert (found.in_port, found.out_port, found.conduit, found.digest) == ("p0", "p1", "polls", rig.digest[:12])
    rig.flows.rows = [rig.flow(first_seen_ns=NOW + 50, last_seen_ns=NOW + 60)]  # another one with the same ports
    (total,) = rig.write().values()
    assert (total.flows, total.frames) == (2, 10)


def test_each_forbidden_frame_counts_and_keeps_what_happened() -> None:
    rig = Rig()
    forbidden = {"policy_verdict": "drop", "reason": "POLICY_NO_CONDUIT", "conduit": ""}
    for verdict, stage in (("accept", "monitor"), ("accept", "monitor"), ("drop", "enforce")):
        rig.recorder.take(*rig.event(**forbidden, verdict=verdict, stage=stage))
    found = {(one.verdict, one.stage): total for one, total in rig.write().items()}
    assert {key: (total.flows, total.frames, total.bytes) for key, total in found.items()} == {
        ("accept", "monitor"): (0, 2, 120),
        ("drop", "enforce"): (0, 1, 60),
    }


def test_a_flood_of_invented_keys_is_bounded_and_said() -> None:
    rig = Rig()
    for number in range(SIGHTS_MAX + 500):
        rig.recorder.take(*rig.event(policy_verdict="drop", reason="POLICY_NO_CONDUIT", src_ip=f"10.9.{number}.1"))
    rig.lost = 77
    assert len(rig.write()) == SIGHTS_MAX
    assert rig.tape.extent().uncounted == 500 + 77


def test_a_tape_that_cannot_be_written_is_trouble_and_nothing_is_lost() -> None:
    rig = Rig()
    rig.recorder.take(*rig.event(policy_verdict="drop", reason="POLICY_NO_CONDUIT"))
    rig.tape._db.execute("PRAGMA query_only=ON")
    assert rig.write() == {}
    assert "tape" in rig.recorder._plane.core.trouble
    rig.tape._db.execute("PRAGMA query_only=OFF")
    assert [total.frames for total in rig.write().values()] == [1]
    assert "tape" not in rig.recorder._plane.core.trouble


def packet(
    source: tuple[str, int], destination: tuple[str, int], *, protocol: int = 6, flags: int = 0
) -> dict[str, Any]:
    """Return what `Direction` looks at."""
    return {
        "source": mapped(source[0]), "source_port": source[1], "destination": mapped(destination[0]),
        "destination_port": destination[1], "protocol": protocol, "flags": flags,
    }  # fmt: skip


CLIENT, SERVER = ("10.0.0.1", 50000), ("10.1.0.1", 502)


def test_who_was_asked_is_known_from_the_opening_whatever_the_ports() -> None:
    direction = Direction()
    high, low = ("10.0.0.1", 600), ("10.1.0.1", 40000)  # the client's port is the lower one
    assert not direction.is_reply(packet(high, low, flags=EVENT_TCP_OPENING))
    assert direction.is_reply(packet(low, high))
    assert not direction.is_reply(packet(high, low))


def test_without_an_opening_a_service_was_asked_else_the_lower_port() -> None:
    direction = Direction()
    assert direction.is_reply(packet(("10.1.0.1", 40000), ("10.0.0.1", 50000), protocol=17))
    direction.know_services(compile_text(POLICY).policy)
    opcua = ("10.1.0.1", 4840)
    assert not direction.is_reply(packet(("10.0.0.1", 1025), opcua))
    assert direction.is_reply(packet(opcua, ("10.0.0.2", 1025)))


def test_a_forbidden_conversation_is_two_sights_however_often_the_client_comes_back() -> None:
    rig = Rig()
    for port in range(50000, 50020):
        for ends in (("10.0.0.1", port), SERVER), (SERVER, ("10.0.0.1", port)):
            raw, text = rig.event(
                policy_verdict="drop", reason="POLICY_NO_CONDUIT", src_ip=ends[0][0], dest_ip=ends[1][0]
            )
            rig.recorder.take(raw | packet(*ends), text)
    found = {(one.source, one.number, one.reply): total.frames for one, total in rig.write().items()}
    assert found == {("10.0.0.1", 502, 0): 20, ("10.1.0.1", 502, 1): 20}


def test_windows_split_an_observation_by_what_held_at_its_quarters_of_an_hour() -> None:
    weekly = '{days: [mon, tue, wed, thu, fri, sat, sun], from: "06:00", to: "07:00"}'
    window = f"windows: {{early: {{timezone: UTC, weekly: [{weekly}]}}}}"
    text = POLICY.replace("conduits:", f"{window}\nconduits:").replace("[modbus]}", "[modbus], windows: [early]}")
    midnight = NOW // DAY_NS * DAY_NS
    slots = tuple(midnight + quarter * SLOT_NS for quarter in range(20, 30))  # from 05:00 until 07:30
    seen = Observation(sight(), Sum(slots[0], slots[-1] + 5, 10, 100, 1000), slots)
    found = {one.said.reason: one.sum for one in TapeReplay(compile_text(text)).run([seen]) if one.said}
    assert {reason: (total.flows, total.frames) for reason, total in found.items()} == {
        "POLICY_CONDUIT_CLOSED": (6, 60),
        "POLICY_CONDUIT": (4, 40),
    }


def test_the_summary_adds_up() -> None:
    kinds = [
        sight(),
        sight(number=80),
        sight(reason="FRAME_TRUNCATED", policy_verdict="drop"),
        sight(policy_verdict="drop"),
    ]
    rows = [Observation(one, Sum(NOW, NOW, 1, frames, 10), (NOW,)) for frames, one in enumerate(kinds, start=1)]
    found = summary(TapeReplay(compile_text(POLICY)).run(rows), "candidate", "00", limit_rows=10)
    assert found["frames"] == 10
    assert found["frames"] == sum(found[part]["frames"] for part in ("accepted", "dropped", "not_replayed"))
    assert [row["service"] for row in found["lost"]["rows"]] == ["tcp/80"]
    assert [row["now"]["conduit"] for row in found["gained"]["rows"]] == ["polls"]
