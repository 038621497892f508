"""`conduitctl learn` as plants use it: from a tape's file and from captures to a fragment that the policy includes."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from fastpath.abi import Reason, Stage, Verdict
from gateway.tape.sight import Sight, Sum
from gateway.tape.store import SLOT_NS, Tape
from tests.integration.control.plant import wait_for
from tests.integration.control.test_command_line import EXAMPLE, ctl
from tests.support import captures

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.control.plant import ControlRig

NOW = 1_790_000_000_000_000_000 // SLOT_NS * SLOT_NS
QUARTERS = 4 * 24 * 4  # four days
HMI, PLC = {"hmi-1": "10.20.40.10", "hmi-2": "10.20.40.11"}, {"plc-1": "10.20.50.10", "plc-2": "10.20.50.11"}
CAPTURE = "iti__ModbusTCP.pcap"
MASTER = "141.81.0.10"


def mac(ip: str) -> str:
    """Return the MAC that the example gives an address."""
    return "02:00:" + ":".join(f"{int(part):02x}" for part in ip.split("."))


def sight(source: str, destination: str, number: int, **changes: Any) -> Sight:
    """Return something that the example forbids, passed in monitor."""
    usual = Sight(
        source=source, destination=destination, source_mac=mac(source), ethertype=0x0800, protocol=6, number=number,
        reply=0, in_port="sup0", out_port="ctl0", vlan=0, source_zone="supervisory", destination_zone="control",
        source_asset="", destination_asset="", service="", operation="", conduit="", verdict="accept",
        policy_verdict="drop", reason="POLICY_NO_CONDUIT", stage="monitor", digest="0123456789ab",
    )  # fmt: skip
    return usual._replace(**changes)


@pytest.fixture
def tape(tmp_path: Path) -> Path:
    """Four days of both HMIs reading web pages of both PLCs, answered; a spoof, a scan, and an office that tries."""
    path = tmp_path / "tape.sqlite"
    store = Tape(path)
    back = {"in_port": "ctl0", "out_port": "sup0", "source_zone": "control", "destination_zone": "supervisory"}
    office = {"in_port": "ent0", "source_zone": "enterprise"}
    for quarter in range(QUARTERS):
        at = NOW + quarter * SLOT_NS
        sums = {}
        for hmi in HMI.values():
            for plc in PLC.values():
                sums[sight(hmi, plc, 8080)] = Sum(at, at + 1, 0, 5, 500)
                sums[sight(plc, hmi, 8080, reply=1, **back)] = Sum(at, at + 1, 0, 5, 500)
        store.write(sums)
    spoof = sight(HMI["hmi-1"], PLC["plc-1"], 502, source_mac="02:00:00:00:00:99", reason="IDENTITY_SOURCE_MAC")
    store.write({spoof: Sum(NOW, NOW, 0, 7, 420)})
    store.write({sight("10.20.40.20", PLC["plc-2"], port): Sum(NOW, NOW, 0, 1, 60) for port in range(1000, 1100)})
    store.write({sight("10.20.10.66", PLC["plc-1"], 502, **office): Sum(NOW, NOW + 5, 0, 3, 180)})
    store.close()
    return path


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    """The example in a folder of its own."""
    path = tmp_path / "site" / "policy.yaml"
    path.parent.mkdir()
    shutil.copy(EXAMPLE, path)
    return path


def test_from_a_tape_to_a_policy_that_drops_none_of_it(tape: Path, policy: Path) -> None:
    """What is accepted loads with the policy by include, passes its checks, and permits what was learned."""
    learned = policy.parent / "learned.yaml"
    asked = ["learn", "--policy", str(policy), "--tape-file", str(tape), "--accept", str(learned), "-o", "json"]
    done = ctl(*asked)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    (one,) = found["proposals"]
    assert one["conduit"] == {
        "from": {"zone": "supervisory", "role": "hmi"},
        "to": {"zone": "control", "role": "plc"},
        "services": ["tcp-8080"],
    }
    assert (one["confidence"], one["seen"]["frames"], one["seen"]["days"]) == ("high", QUARTERS * 20, 5)
    assert one["never_seen"] == []
    assert {(row["why"], row["code"]) for row in found["withheld"]} == {
        ("not who it says", None), ("looks like a scan", None), ("refused by a check", "POL202"),
    }  # fmt: skip
    policy.write_text(policy.read_text().replace("version: 1\n", "version: 1\ninclude: [learned.yaml]\n"))
    checked = ctl("policy", "check", str(policy))
    assert checked.returncode == 0, checked.stderr
    replayed = json.loads(ctl("simulate", "--policy", str(policy), "--tape-file", str(tape), "-o", "json").stdout)
    assert replayed["by_conduit"][one["name"]] == QUARTERS * 20
    assert sum(replayed["by_reason"][reason] for reason in ("IDENTITY_SOURCE_MAC", "POLICY_NO_CONDUIT")) == 7 + 100 + 3
    again = ctl(*asked)
    assert (again.returncode, again.stdout) == (3, "")
    assert "exists" in again.stderr


def test_nothing_proposed_is_nothing_written(tape: Path, policy: Path) -> None:
    """Of the last quarter of an hour nothing is sure enough; the exit code is 0 and no file appears."""
    learned = policy.parent / "learned.yaml"
    asked = ["learn", "--policy", str(policy), "--tape-file", str(tape), "--accept", str(learned)]
    done = ctl(*asked, "--min-confidence", "high", "--until", "2026-09-21T15:00:00+00:00")
    assert done.returncode == 0, done.stderr
    assert "nothing was written" in done.stderr
    assert not learned.exists()


def test_a_fragment_in_a_folder_that_the_policy_includes_already(tape: Path, policy: Path) -> None:
    """`include: [conduits/*.yaml]` takes the file in as it is; its place in the policy's folder is what counts."""
    (policy.parent / "conduits").mkdir()
    (policy.parent / "conduits" / "old.yaml").write_text("conduits: {}\n")
    policy.write_text(policy.read_text().replace("version: 1\n", "version: 1\ninclude: [conduits/*.yaml]\n"))
    learned = policy.parent / "conduits" / "learned.yaml"
    done = ctl("learn", "--policy", str(policy), "--tape-file", str(tape), "--accept", str(learned))
    assert done.returncode == 0, done.stderr
    assert "hmi-to-plc-tcp-8080" in done.stdout
    assert ctl("policy", "check", str(policy)).returncode == 0
    assert ctl("explain", "--policy", str(policy), "hmi-1", "plc-2", "tcp/8080", "-o", "json").returncode == 0


def test_from_the_daemons_own_tape_for_the_policy_in_force(rig: ControlRig, tmp_path: Path) -> None:
    """Without a source and without a policy: what the daemon has seen, added to what is in force."""
    address = bytes(10) + b"\xff\xff"
    for host in (10, 11):
        rig.put_event(
            source=address + bytes((10, 20, 40, host)), destination=address + bytes((10, 20, 50, 10)), ethertype=0x0800,
            protocol=6, source_port=40000, destination_port=8080, reason=Reason.POLICY_NO_CONDUIT,
            verdict=Verdict.ACCEPT, policy_verdict=Verdict.DROP, stage=Stage.MONITOR, conduit=0xFFFFFFFF, source_zone=4,
            destination_zone=5, source_asset=0xFFFFFFFF, destination_asset=0xFFFFFFFF, length=60,
            source_mac=bytes((2, 0, 10, 20, 40, host)),
        )  # fmt: skip
    wait_for("both", lambda: rig.get("/v1/tape")["sights"] == 2)
    learned = tmp_path / "learned.yaml"
    asked = ["learn", "--since", "1h", "--min-confidence", "low", "--accept", str(learned), "-o", "json"]
    done = ctl(*asked, socket=rig.socket)
    assert done.returncode == 0, done.stderr
    (one,) = json.loads(done.stdout)["proposals"]
    assert one["conduit"] == {
        "from": {"zone": "supervisory", "role": "hmi"}, "to": {"asset": "plc-1"}, "services": ["tcp-8080"],
    }  # fmt: skip
    assert one["name"] in learned.read_text()
    assert rig.get("/v1/policy")["digest"] == rig.get("/v1/status")["policy"]["digest"], "nothing in force has changed"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--tape", "--pcap", "x.pcap"], 2),
        (["--stage", "off"], 2),
        (["--min-confidence", "some"], 2),
        (["--member-percent", "0"], 2),
        (["--policy", "nowhere.yaml"], 3),
        (["--policy", str(EXAMPLE), "--tape-file", "nowhere.sqlite"], 3),
        (["--policy", str(EXAMPLE), "--pcap", "nowhere.pcap"], 3),
        (["--socket", "nowhere.sock"], 5),
        (["--policy", str(EXAMPLE), "--socket", "nowhere.sock"], 5),
    ],
)
def test_what_cannot_be_done_is_refused(arguments: list[str], code: int) -> None:
    """Each with its exit code and words, never a traceback."""
    done = ctl("learn", *arguments)
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


def test_a_real_capture_of_modbus_polls(tmp_path: Path) -> None:
    """One master polls thirteen stations: a policy that knows them but no conduit learns the one that is needed."""
    files = [path for path in captures.require_captures() if path.name == CAPTURE]
    if not files:
        pytest.skip(f"the captures have no {CAPTURE}")
    stations = {
        ".".join(map(str, frame[26:30])): frame[6:12].hex(":")
        for frame in captures.ethernet_frames(files[0])
        if frame[12:14] == b"\x08\x00"
    }
    lines = ["version: 1", "site: {name: stations}", "zones:"]
    lines += ["  scada: {kind: supervisory, ports: [p0]}", "  field: {kind: control, ports: [p1]}", "assets:"]
    for number, (ip, ethernet) in enumerate(sorted(stations.items())):
        zone, role = ("scada", "master") if ip == MASTER else ("field", "station")
        lines.append(f'  s{number}: {{zone: {zone}, ips: [{ip}], macs: ["{ethernet}"], roles: [{role}]}}')
    policy = tmp_path / "policy.yaml"
    policy.write_text("\n".join(lines) + "\n")
    learned = tmp_path / "learned.yaml"
    done = ctl("learn", "--policy", str(policy), "--pcap", str(files[0]), "--accept", str(learned), "-o", "json")
    assert done.returncode == 0, done.stderr
    (one,) = json.loads(done.stdout)["proposals"]
    assert one["conduit"]["to"] == {"zone": "field", "role": "station"}
    assert (one["conduit"]["services"], one["pairs"], one["never_seen"]) == (["modbus"], len(stations) - 1, [])
    assert all(row["answered"] for row in one["by"])
    policy.write_text(policy.read_text().replace("version: 1\n", "version: 1\ninclude: [learned.yaml]\n"))
    judged = ctl("simulate", "--policy", str(policy), "--pcap", str(files[0]), "-o", "json")
    found = json.loads(judged.stdout)
    assert {row["reason"] for row in found["by_reason"] if row["accepted"] < row["frames"]} <= {"NEIGHBOUR_NO_CONDUIT"}
    assert sum(row["would_drop"] for row in found["by_reason"] if row["reason"] == "POLICY_NO_CONDUIT") == 0
