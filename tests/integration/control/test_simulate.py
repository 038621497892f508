"""`conduitctl simulate` as scripts use it: JSON that adds up, lines of frames, exit codes; and `explain --at`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.control.test_command_line import EXAMPLE, ctl
from tests.support import capture_file, wire
from tests.support.capture_file import Packet
from tests.support.plain import address

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.control.plant import ControlRig

SYN, ACK = 0x02, 0x10
HMI, PLC, OFFICE = "10.20.40.10", "10.20.50.10", "10.20.10.66"
KEYS = {
    "frame",
    "verdict",
    "policy_verdict",
    "stage",
    "reason",
    "conduit",
    "src_zone",
    "dst_zone",
    "src_asset",
    "dst_asset",
    "service",
}


def mac(ip: str) -> bytes:
    """Return the MAC that the example gives an address: 02:00, then its bytes."""
    return b"\x02\x00" + address(ip).packed


def frame(source: str, destination: str, ports: tuple[int, int], flags: int) -> bytes:
    """Return an Ethernet frame of the example's plant."""
    ends = address(source), address(destination)
    packet = wire.ipv4(*ends, 6, wire.tcp(*ends, ports, flags))
    return wire.ethernet(mac(destination), mac(source), 0, 0x0800, packet)


@pytest.fixture
def capture(tmp_path: Path) -> str:
    """A poll and its answer, an attempt from the office, and a frame of a link type that nobody reads."""
    frames = [
        frame(HMI, PLC, (50000, 502), SYN),
        frame(PLC, HMI, (502, 50000), SYN | ACK),
        frame(OFFICE, PLC, (50000, 502), SYN),
    ]
    packets = [Packet(1_700_000_000_000_000_000 + n, data, len(data)) for n, data in enumerate(frames)]
    parts = [capture_file.section(), capture_file.interface("<", 1, resolution=9), capture_file.interface("<", 105)]
    parts += [capture_file.enhanced("<", 0, packet.time_ns, packet.data, packet.length) for packet in packets]
    parts.append(capture_file.enhanced("<", 1, 1, bytes(40), 40))
    path = tmp_path / "plant.pcapng"
    path.write_bytes(b"".join(parts))
    return str(path)


def lines(text: str) -> list[dict[str, Any]]:
    """Parse JSON lines."""
    return [json.loads(line) for line in text.splitlines()]


def test_a_summary_that_adds_up(capture: str) -> None:
    """`-o json` counts every frame once in each part, and what the stage lets pass apart from what the policy says."""
    done = ctl("simulate", "--policy", str(EXAMPLE), "--pcap", capture, "-o", "json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (
        found["frames"]
        == sum(row["frames"] for row in found["rows"])
        == sum(file["frames"] for file in found["files"])
        == 4
    )
    assert found["judged"] == sum(row["frames"] for row in found["by_conduit"]) == 3
    assert sum(found["unjudged"].values()) == 1
    assert found["policy_verdicts"] == {"accept": 2, "drop": 1}
    assert found["verdicts"] == {"accept": 3}, "the example's ceiling is monitor"
    assert found["would_drop"] == 1


def test_a_line_for_each_frame(capture: str) -> None:
    """`-o jsonl` has Wireshark's frame numbers and the engine's words; enforced, the attempt is dropped."""
    done = ctl("-o", "jsonl", "simulate", "--stage", "enforce", "--policy", str(EXAMPLE), "-r", capture)
    assert done.returncode == 0, done.stderr
    poll, answer, attempt, unread = lines(done.stdout)
    assert set(poll) >= KEYS
    assert [row["frame"] for row in (poll, answer, attempt, unread)] == [1, 2, 3, 4]
    assert (poll["verdict"], poll["reason"], poll["src_asset"], poll["dst_asset"]) == (
        "accept",
        "POLICY_CONDUIT",
        "hmi-1",
        "plc-1",
    )
    assert (answer["reason"], answer["service"], answer["conduit"]) == ("FLOW_ESTABLISHED", "modbus", poll["conduit"])
    assert (attempt["verdict"], attempt["reason"], attempt["src_zone"]) == ("drop", "POLICY_NO_CONDUIT", "enterprise")
    assert unread["verdict"] is None
    assert "link type" in unread["unjudged"]


def test_two_policies(capture: str, tmp_path: Path) -> None:
    """`--diff` shows the frames that another policy judges otherwise, each with both opinions."""
    other = tmp_path / "other.yaml"
    other.write_text(EXAMPLE.read_text().replace("{zone: supervisory, role: hmi}", "{zone: supervisory, role: scada}"))
    asked = ["simulate", "--policy", str(EXAMPLE), "--diff", str(other), "--pcap", capture]
    found = json.loads(ctl(*asked, "-o", "json").stdout)
    assert found["differing"] == sum(row["frames"] for row in found["differences"]) == 2
    assert {row["other"]["policy_verdict"] for row in found["differences"]} == {"drop"}
    assert [row["frame"] for row in lines(ctl(*asked, "-o", "jsonl").stdout)] == [1, 2]
    assert "2 of 4 frames differ" in ctl(*asked).stdout


def test_a_table_for_people(capture: str) -> None:
    """Without -o: tables, and no progress where standard error is no terminal."""
    done = ctl("simulate", "--policy", str(EXAMPLE), "--pcap", capture, "--limit-rows", "1")
    assert done.returncode == 0
    assert done.stderr == ""
    for words in ("4 in 1 files", "POLICY_NO_CONDUIT", "office-laptop in enterprise", "3 more conversations"):
        assert words in done.stdout, done.stdout


def test_exit_codes(capture: str, tmp_path: Path) -> None:
    """2 wrong usage, 3 no capture or a refused policy, 5 no daemon, 7 damaged, 0 cut: each with its place."""
    damaged, cut, wrong = tmp_path / "damaged.pcapng", tmp_path / "cut.pcapng", tmp_path / "wrong.yaml"
    data = (tmp_path / "plant.pcapng").read_bytes()
    damaged.write_bytes(data + capture_file.enhanced("<", 9, 0, b"data", 4) + data)
    cut.write_bytes(data[:-5])
    wrong.write_text(EXAMPLE.read_text().replace("kind: dmz", "kind: nonsense"))
    assert ctl("simulate").returncode == 2
    assert ctl("simulate", "--policy", str(EXAMPLE), "--pcap", capture, "--stage", "off").returncode == 2
    assert ctl("simulate", "--policy", str(wrong), "--pcap", capture).returncode == 3
    assert ctl("simulate", "--policy", str(EXAMPLE), "--pcap", str(EXAMPLE)).returncode == 3
    nobody = ctl("simulate", "--pcap", capture, socket=tmp_path / "none.sock")
    assert nobody.returncode == 5
    assert "--policy FILE" in nobody.stderr
    for path, code, frames in ((damaged, 7, 4), (cut, 0, 3)):
        done = ctl("simulate", "--policy", str(EXAMPLE), "--pcap", str(path), "-o", "json")
        assert done.returncode == code, done.stderr
        found = json.loads(done.stdout)
        (reading,) = found["files"]
        assert found["frames"] == frames
        assert f"{path}: byte {reading['at']}: {reading['damage']}" in done.stderr


def test_the_policy_in_force(calm: ControlRig, capture: str) -> None:
    """Without --policy the daemon's text is judged by."""
    done = ctl("simulate", "--pcap", capture, "-o", "json", socket=calm.socket)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["policy"]["name"] == "in force"
    assert found["frames"] == 4


def test_what_holds_beside_the_text_in_force_is_said(rig: ControlRig, capture: str) -> None:
    """Stages set at run time and quarantine are not judged by, and nobody shall believe that they were."""
    done = ctl("simulate", "--pcap", capture, "-o", "json", socket=rig.socket)
    assert json.loads(done.stdout)["not_counted"] == {"overrides": 0, "quarantined": 0}
    assert "do not count" not in done.stderr
    assert rig.call("PUT", "/v1/stages", {"stage": "alert"})[0] == 200
    assert rig.call("POST", "/v1/quarantine", {"target": "office-laptop", "reason": "note"})[0] == 200
    done = ctl("simulate", "--pcap", capture, "-o", "json", socket=rig.socket)
    assert json.loads(done.stdout)["not_counted"] == {"overrides": 1, "quarantined": 1}
    assert "1 stages set at run time and 1 devices in quarantine do not count here" in done.stderr
    done = ctl("simulate", "--tape", "-o", "json", socket=rig.socket)
    assert json.loads(done.stdout)["not_counted"] == {"overrides": 1, "quarantined": 1}


def test_explain_at_a_moment(calm: ControlRig, tmp_path: Path) -> None:
    """`--at` opens windows as they are then, by a file and by the daemon; nonsense is refused with an example."""
    timed = EXAMPLE.read_text().replace("    services: [modbus]\n", "    services: [modbus]\n    windows: [nights]\n")
    nights = '  nights: {timezone: UTC, weekly: [{days: [mon], from: "22:00", to: "06:00"}]}\n'
    timed = timed.replace("\nwindows:\n", f"\nwindows:\n{nights}")
    path = tmp_path / "timed.yaml"
    path.write_text(timed)
    for at, reason in (("2026-03-02T21:59:59", "POLICY_CONDUIT_CLOSED"), ("2026-03-03T05:59+00:00", "POLICY_CONDUIT")):
        asked = ["explain", "hmi-1", "plc-1", "modbus", "--at", at, "-o", "json"]
        assert json.loads(ctl(*asked, "--policy", str(path)).stdout)["reason"] == reason
    refused = ctl("explain", "hmi-1", "plc-1", "modbus", "--policy", str(path), "--at", "yesterday")
    assert refused.returncode == 3
    assert "2026-11-28T06:00" in refused.stderr
    done = ctl("explain", "hmi-1", "plc-1", "modbus", "--at", "2026-03-02T12:00", "-o", "json", socket=calm.socket)
    assert json.loads(done.stdout)["reason"] == "POLICY_CONDUIT"
