"""Simulation as a whole: placing by hand, stages, windows, two policies, files in order, sums under pressure."""

from __future__ import annotations

import os
import struct
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from fastpath.replay import Capture, Replay, Rollup
from gateway.errors import ConfigError
from gateway.simulate.candidate import Candidate, Stages
from gateway.simulate.simulation import Simulation
from gateway.simulate.sources import CaptureFile, capture_files
from rules.compile import compile_text
from tests.support import capture_file
from tests.support.capture_file import Packet

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.simulate.summary import Summary

SECOND = 1_000_000_000
NOON = int(datetime(2026, 3, 2, 12, tzinfo=UTC).timestamp()) * SECOND  # a Monday
HMI, PLC, STRANGER = "02:00:00:00:01:01", "02:00:00:00:02:01", "02:00:00:00:09:09"
TEXT = """\
version: 1
site: {name: works, ceiling: enforce, default_stage: enforce}
zones:
  supervisory: {kind: supervisory, sl_t: 1, ports: [sup0, sup1]}
  control: {kind: control, sl_t: 1, ports: [ctl0]}
  office: {kind: enterprise, sl_t: 1, ports: [off0], prefixes: [10.9.0.0/16]}
assets:
  hmi-1: {zone: supervisory, macs: ["02:00:00:00:01:01"], ips: [10.1.0.1]}
  plc-1: {zone: control, macs: ["02:00:00:00:02:01"], ips: [10.2.0.1]}
conduits:
  polls:
    from: {asset: hmi-1}
    to: {asset: plc-1}
    services: [modbus]
    stage: enforce
    owner: tests
    reason: polling
"""
MONITORED = TEXT.replace("default_stage: enforce", "default_stage: monitor")


def tcp(
    source: str, destination: str, ports: tuple[int, int], *, macs: tuple[str, str] = (HMI, PLC), flags: int = 2
) -> bytes:
    """Return an Ethernet frame with a TCP segment."""
    addresses = b"".join(bytes(int(part) for part in text.split(".")) for text in (source, destination))
    head = struct.pack("!BBHHHBBH", 0x45, 0, 40, 0, 0x4000, 64, 6, 0) + addresses
    segment = struct.pack("!HHIIBBHHH", *ports, 1, 1, 5 << 4, flags, 8192, 0, 0)
    link = b"".join(bytes.fromhex(mac.replace(":", "")) for mac in reversed(macs))
    return link + b"\x08\x00" + head + segment


POLL = tcp("10.1.0.1", "10.2.0.1", (50000, 502))
SCAN = tcp("10.1.0.1", "10.2.0.1", (50000, 80))


def write(path: Path, frames: list[bytes], start_ns: int = NOON, gap_ns: int = SECOND) -> str:
    """Write frames into a capture, one second apart."""
    path.write_bytes(
        capture_file.pcap([Packet(start_ns + n * gap_ns, frame, len(frame)) for n, frame in enumerate(frames)])
    )
    return str(path)


def run(paths: list[str], text: str = TEXT, other: str | None = None, **more: Any) -> Summary:
    """Simulate."""
    ingress = more.pop("ingress", None)
    candidate = Candidate(compile_text(text), "candidate", **more)
    beside = Candidate(compile_text(other), "other") if other else None
    return Simulation(candidate, beside).run(capture_files(paths, ingress))


def reasons(summary: Summary) -> dict[str | None, int]:
    """Return frames by reason."""
    found: dict[str | None, int] = {}
    for row in summary.sums:
        found[row.said.reason] = found.get(row.said.reason, 0) + row.frames
    return found


def test_ends_are_placed_by_the_policy(tmp_path: Path) -> None:
    """Nobody says where the frames were taken: MAC and IP do."""
    stranger = tcp("172.16.0.1", "10.2.0.1", (1, 2), macs=(STRANGER, PLC))
    spoof = tcp("10.1.0.1", "10.2.0.1", (50001, 502), macs=(STRANGER, PLC))
    neighbour = tcp("10.1.0.1", "10.1.0.1", (1, 2), macs=(HMI, HMI))
    office = tcp("10.9.1.1", "10.2.0.1", (1, 502), macs=(STRANGER, PLC))
    frames = [
        POLL,
        tcp("10.2.0.1", "10.1.0.1", (502, 50000), macs=(PLC, HMI), flags=0x12),
        stranger,
        spoof,
        neighbour,
        office,
    ]
    summary = run([write(tmp_path / "a.pcap", frames)])
    assert reasons(summary) == {
        "POLICY_CONDUIT": 1,
        "FLOW_ESTABLISHED": 1,
        "IDENTITY_PORT_UNKNOWN": 1,
        "IDENTITY_SOURCE_MAC": 1,
        "ZONE_INTERNAL": 1,
        "POLICY_NO_CONDUIT": 1,
    }
    (reply,) = (row for row in summary.conversations if row.said.reason == "FLOW_ESTABLISHED")
    assert reply.spoken is not None
    assert (reply.spoken.source, reply.spoken.service, reply.spoken.reply) == ("10.2.0.1", "tcp/502", True)
    assert (reply.said.source_asset, reply.said.service) == ("plc-1", "modbus")


def test_a_known_ingress_reveals_a_wrong_port(tmp_path: Path) -> None:
    """The same frame from the office's port is a spoof; PORT, ZONE, and for one file alone."""
    path = write(tmp_path / "a.pcap", [POLL])
    assert reasons(run([path], ingress="off0")) == {"IDENTITY_SOURCE_ZONE": 1}
    assert reasons(run([path], ingress="office")) == {"IDENTITY_SOURCE_ZONE": 1}
    assert reasons(run([path], ingress="sup1")) == {"POLICY_CONDUIT": 1}
    second = write(tmp_path / "b.pcap", [POLL])
    found = run([f"{path}=off0", second])
    assert reasons(found) == {"IDENTITY_SOURCE_ZONE": 1, "POLICY_CONDUIT": 1}
    assert [reading.ingress for reading in found.readings] == ["off0", None]


def test_an_unknown_place_is_refused(tmp_path: Path) -> None:
    """A port that the policy does not have is a mistake, with the nearest name."""
    path = write(tmp_path / "a.pcap", [POLL])
    with pytest.raises(ConfigError, match="sup1"):
        run([f"{path}=sup9"])


def test_a_file_may_be_called_like_a_mapping(tmp_path: Path) -> None:
    """What exists under the whole name is that file."""
    assert capture_files([write(tmp_path / "a=off0", [POLL])]) == [CaptureFile(tmp_path / "a=off0")]


def test_stages(tmp_path: Path) -> None:
    """As written, monitor lets the scan pass; enforced it is dropped. The policy's own verdict is the same."""
    path = write(tmp_path / "a.pcap", [SCAN])
    (written,) = run([path], MONITORED).sums
    (enforced,) = run([path], MONITORED, stages=Stages.ENFORCE).sums
    assert (written.said.verdict, written.said.policy_verdict, written.said.stage) == ("accept", "drop", "monitor")
    assert (enforced.said.verdict, enforced.said.policy_verdict, enforced.said.stage) == ("drop", "drop", "enforce")


def test_two_policies(tmp_path: Path) -> None:
    """Frames of which the other policy says otherwise, with both opinions; the same policy differs nowhere."""
    path = write(tmp_path / "a.pcap", [POLL, SCAN, POLL])
    closed = TEXT.replace("    stage: enforce", "    stage: enforce\n    enabled: false")
    summary = run([path], TEXT, closed)
    assert [one.said.reason for one in summary.difference_sums] == ["POLICY_CONDUIT", "FLOW_ESTABLISHED"]
    for difference in summary.difference_sums:
        assert difference.other is not None
        assert (difference.frames, difference.said.verdict, difference.other.verdict) == (1, "accept", "drop")
        assert difference.other.reason == "POLICY_CONDUIT_CLOSED"
    shown = summary.as_dict()
    assert shown["differing"] == sum(row["frames"] for row in shown["differences"]) == 2
    assert run([path], TEXT, TEXT).difference_sums == ()


def test_files_go_by_the_time_of_their_first_frames(tmp_path: Path) -> None:
    """A connection that began in one file goes on in the next, whatever the files are called."""
    write(tmp_path / "z.pcap", [POLL])
    write(tmp_path / "a.pcapng.cap", [tcp("10.1.0.1", "10.2.0.1", (50000, 502), flags=0x10)], NOON + 9 * SECOND)
    assert reasons(run([str(tmp_path)])) == {"POLICY_CONDUIT": 1, "FLOW_ESTABLISHED": 1}


def test_time_is_the_captures(tmp_path: Path) -> None:
    """A limit of one new flow a minute: the clock of the capture fills it up again."""
    limited = TEXT.replace("    stage: enforce", "    stage: enforce\n    limit: {new_flows: 1/min}")
    frames = [tcp("10.1.0.1", "10.2.0.1", (50000 + n, 502)) for n in range(4)]
    slow = run([write(tmp_path / "slow.pcap", frames, gap_ns=61 * SECOND)], limited)
    fast = run([write(tmp_path / "fast.pcap", frames)], limited)
    assert reasons(slow) == {"POLICY_CONDUIT": 4}
    assert reasons(fast) == {"POLICY_CONDUIT": 1, "LIMIT_FLOWS": 3}


def test_what_is_no_capture_is_refused(tmp_path: Path) -> None:
    """Missing, empty, compressed and other files, and folders without captures: each with its own hint."""
    (tmp_path / "empty.pcap").touch()
    (tmp_path / "text").write_text("hello")
    (tmp_path / "packed").write_bytes(b"\x1f\x8b\x08\x00 and so on")
    for name, hint in (("gone.pcap", "check path"), ("empty.pcap", "header"), ("text", "pcapng"), ("packed", "gunzip")):
        with pytest.raises(ConfigError, match=hint):
            capture_files([str(tmp_path / name)])
    (tmp_path / "empty.pcap").unlink()
    os.mkfifo(tmp_path / "pipe.pcap")  # nobody writes: it must not be waited for
    (tmp_path / "round.pcap").symlink_to("round.pcap")
    for name, hint in (("pipe.pcap", "to a file first"), ("round.pcap", "check path")):
        with pytest.raises(ConfigError, match=hint):
            capture_files([str(tmp_path / name)])
    (tmp_path / "round.pcap").unlink()
    with pytest.raises(ConfigError, match="holds no capture"):
        capture_files([str(tmp_path)])


def test_damage_is_told_and_what_stood_before_it_counts(tmp_path: Path) -> None:
    """A file that ends early, and one with a lie in it."""
    whole = (tmp_path / "whole.pcap", [POLL, SCAN])
    data = write(*whole) and whole[0].read_bytes()
    (tmp_path / "cut.pcap").write_bytes(data[:-1])
    (tmp_path / "lie.pcap").write_bytes(
        data[: 24 + 16 + len(POLL) + 8] + b"\xff\xff\xff\x7f" + data[24 + 16 + len(POLL) + 12 :]
    )
    for name, cut in (("cut.pcap", True), ("lie.pcap", False)):
        (reading,) = run([str(tmp_path / name)]).readings
        assert (reading.frames, reading.at, reading.cut) == (1, 24 + 16 + len(POLL), cut)
        assert reading.damage


@pytest.mark.parametrize(
    ("link", "frame", "why"),
    [
        (105, bytes(40), "link type"),
        (1, bytes(13), "cut within"),
        (0, b"\x07\x00\x00\x00data", "link type"),
        (101, b"", "cut within"),
    ],
)
def test_frames_that_cannot_be_judged_are_counted(tmp_path: Path, link: int, frame: bytes, why: str) -> None:
    """Another link type, another family, a cut link header: counted as such, in every sum."""
    (tmp_path / "a.pcap").write_bytes(capture_file.pcap([Packet(NOON, frame, len(frame))] * 3, link=link))
    summary = run([str(tmp_path / "a.pcap")])
    shown = summary.as_dict()
    assert shown["frames"] == 3
    assert shown["judged"] == 0
    assert [why in text for text in shown["unjudged"]] == [True]
    assert sum(row["frames"] for row in shown["conversations"]) == 3


def test_windows_open_and_close_by_the_captures_clock(tmp_path: Path) -> None:
    """Every frame meets the openings of its own time, to the nanosecond before noon, also when time goes back."""
    timed = TEXT.replace("    stage: enforce", "    stage: enforce\n    windows: [mornings]").replace(
        "conduits:",
        'windows:\n  mornings: {timezone: UTC, weekly: [{days: [mon, tue], from: "00:00", to: "12:00"}]}\nconduits:',
    )
    times = [NOON - 1000, NOON, NOON + SECOND, NOON - SECOND, NOON + 12 * 3600 * SECOND]
    packets = [Packet(at, tcp("10.1.0.1", "10.2.0.1", (50000 + n, 502)), 54) for n, at in enumerate(times)]
    (tmp_path / "a.pcap").write_bytes(capture_file.pcap(packets))
    candidate = Candidate(compile_text(timed), "timed")
    said: list[str | None] = []
    Simulation(candidate).run(
        [CaptureFile(tmp_path / "a.pcap")],
        frames=lambda _f, _n, some, _o: said.extend(candidate.wording.said(one.judged).reason for one in some),
    )
    closed = "POLICY_CONDUIT_CLOSED"
    assert said == ["POLICY_CONDUIT", closed, closed, "POLICY_CONDUIT", "POLICY_CONDUIT"]


def test_rows_beyond_the_limit_are_counted_as_left_out() -> None:
    """A conversation in every frame: the rows end, the sum does not."""
    frames = [tcp("10.9.0.1", "10.2.0.1", (50000, port)) for port in range(1, 2001)]
    capture = Capture(capture_file.pcap([Packet(NOON, frame, 54) for frame in frames]))
    candidate = Candidate(compile_text(TEXT), "candidate")
    rollup, roomy = Rollup(7, most_rows=100), Rollup(7)
    while count := capture.read():
        candidate.judge(capture, count)
        rollup.add(capture, candidate.replay)
        roomy.add(capture, candidate.replay)
    assert (len(rollup.rows()), rollup.frames, rollup.frames_left_out) == (100, 2000, 1900)
    assert rollup.bytes_left_out == 1900 * 54
    assert (len(roomy.rows()), roomy.frames_left_out) == (2000, 0)


def test_numbers_out_of_range_are_refused() -> None:
    """Ports, zones, rows and flows that cannot be."""
    candidate = Candidate(compile_text(TEXT), "candidate")
    for place in ({"port": 99}, {"zone": 99}, {"port": 1, "zone": 1}):
        with pytest.raises(ValueError, match="no such port"):
            candidate.replay.came_in(**place)
    with pytest.raises(ValueError, match="most_rows"):
        Rollup(1, most_rows=0)
    with pytest.raises(ValueError, match="image"):
        Replay(b"", bytearray(100))
