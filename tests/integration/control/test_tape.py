"""The decision tape on the control socket: what the engine reported is kept, also over a kill, and exported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from fastpath.abi import Reason, Stage, Verdict
from gateway.tape.lines import observations
from tests.integration.control.plant import ROOT, ControlRig, UnixConnection, wait_for

if TYPE_CHECKING:
    from pathlib import Path


def forbidden(rig: ControlRig, host: int) -> None:
    """Let the engine report a frame of the office that the policy forbids."""
    address = bytes(10) + b"\xff\xff"
    rig.put_event(
        source=address + bytes((10, 20, 10, host)), destination=address + bytes((10, 20, 50, 10)), ethertype=0x0800,
        protocol=6, source_port=40000, destination_port=502, reason=Reason.POLICY_NO_CONDUIT, verdict=Verdict.ACCEPT,
        policy_verdict=Verdict.DROP, stage=Stage.MONITOR, conduit=0xFFFFFFFF, source_zone=1, destination_zone=5,
        source_asset=0xFFFFFFFF, destination_asset=0xFFFFFFFF, length=60,
        source_mac=bytes.fromhex("02000a140a42"),
    )  # fmt: skip


def observed(rig: ControlRig, query: str = "") -> list[dict[str, Any]]:
    """Return what the tape has."""
    connection = UnixConnection(rig.socket)
    try:
        connection.request("GET", f"/v1/tape/observations{query}")
        answer = connection.getresponse()
        assert answer.status == 200
        return [json.loads(line) for line in answer.read().splitlines()]
    finally:
        connection.close()


def conduitctl(*words: str) -> subprocess.CompletedProcess[bytes]:
    """Run the command."""
    command = [sys.executable, "-m", "gateway.cli.main", *words]
    return subprocess.run(
        command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, timeout=60, check=False
    )


def test_what_was_reported_is_kept_over_a_kill_and_counted_on(rig: ControlRig) -> None:
    for _ in range(3):
        forbidden(rig, 66)
    (found,) = wait_for("the tape", lambda: [o for o in observed(rig) if o["frames"] == 3])
    assert (found["source"], found["number"], found["verdict"], found["policy_verdict"]) == (
        "10.20.10.66", 502, "accept", "drop",
    )  # fmt: skip
    assert (found["source_zone"], found["destination_zone"], found["stage"]) == ("enterprise", "control", "monitor")
    rig.kill()
    rig.start()
    forbidden(rig, 66)
    wait_for("the fourth", lambda: [o for o in observed(rig) if o["frames"] == 4])
    assert rig.get("/v1/tape")["sights"] == 1
    assert observed(rig, "?until=2020-01-01T00:00:00Z") == []


def test_it_is_shown_exported_and_read_again(rig: ControlRig, tmp_path: Path) -> None:
    for host in (66, 67):
        forbidden(rig, host)
    wait_for("both", lambda: len(observed(rig)) == 2)
    shown = conduitctl("--socket", str(rig.socket), "tape", "show", "--since", "1h", "--forbidden")
    assert shown.returncode == 0, shown.stderr
    assert b"10.20.10.67 (enterprise)" in shown.stdout
    exported = conduitctl("--socket", str(rig.socket), "tape", "export")
    assert exported.returncode == 0, exported.stderr
    read = list(observations(exported.stdout.splitlines(), "export"))
    assert {one.sight.source for one in read} == {"10.20.10.66", "10.20.10.67"}


def test_a_candidate_is_asked_about_everything_seen(rig: ControlRig, tmp_path: Path) -> None:
    forbidden(rig, 66)
    wait_for("the tape", lambda: len(observed(rig)) == 1)
    allowing = (ROOT / "rules" / "examples" / "water-works.yaml").read_text() + (
        "  - {from: enterprise, to: control, refuse: reset}\n"
    )
    candidate = tmp_path / "candidate.yaml"
    candidate.write_text(allowing)
    words = (
        "--socket",
        str(rig.socket),
        "-o",
        "json",
        "simulate",
        "--tape",
        "--since",
        "1h",
        "--policy",
        str(candidate),
    )
    asked = conduitctl(*words)
    assert asked.returncode == 0, asked.stderr
    found = json.loads(asked.stdout)
    assert (found["observations"], found["frames"], found["would_drop"]["frames"]) == (1, 1, 1)
    assert found["by_reason"] == {"POLICY_NO_CONDUIT": 1}
    exported = tmp_path / "tape.jsonl"
    exported.write_bytes(conduitctl("--socket", str(rig.socket), "tape", "export").stdout)
    for file in (exported, rig.base / "state" / "tape.sqlite"):
        offline = conduitctl("-o", "json", "simulate", "--tape-file", str(file), "--policy", str(candidate))
        assert offline.returncode == 0, offline.stderr
        assert json.loads(offline.stdout) == found
    assert conduitctl("simulate", "--policy", str(candidate)).returncode == 2


def test_a_span_that_is_none_is_refused(rig: ControlRig) -> None:
    refused = conduitctl("--socket", str(rig.socket), "tape", "show", "--since", "yesterday")
    assert refused.returncode == 2
    assert b"like 30d" in refused.stderr
    assert rig.call("GET", "/v1/tape/observations?since=yesterday")[0] == 400
