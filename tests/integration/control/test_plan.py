"""`plan`, `diff` and the history over the control socket and the command line."""

from __future__ import annotations

import ipaddress
import json
import os
import sqlite3
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from fastpath import abi
from gateway.segments import SegmentKind, attach
from tests.integration.control.plant import ROOT, ControlRig, wait_for

if TYPE_CHECKING:
    from pathlib import Path

POLLS = "  hmi-polls-plcs:"


def ctl(rig: ControlRig, *argv: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run conduitctl against the rig."""
    command = [sys.executable, "-m", "gateway.cli.main", "--socket", str(rig.socket), *argv]
    environment = dict(os.environ, PYTHONPATH=str(ROOT))
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)
    assert done.returncode == 0 or not check, done.stderr
    return done


@pytest.fixture
def without_polls(water_works: str) -> str:
    """The example without the conduit by which HMIs poll controllers."""
    head, _, rest = water_works.partition(POLLS)
    lines = rest.splitlines(keepends=True)[1:]
    end = next(number for number, line in enumerate(lines) if line[:3].strip() and not line.startswith("    "))
    return head + "".join(lines[end:])


def put_flow(rig: ControlRig, source: str, destination: str, port: int, place: int, **fields: Any) -> None:
    """Write a live TCP conversation into the flow table, as the engine would."""
    zones = {zone["name"]: number for number, zone in enumerate(rig.get("/v1/zones")["zones"], start=1)}
    assets = {row["name"]: (number, row) for number, row in enumerate(rig.get("/v1/assets")["assets"])}
    values: dict[str, Any] = {
        name: bytes(int(code[:-1])) if code.endswith("s") else 0 for name, code in abi.FLOW.fields.items()
    }
    for end, name in (("opener", source), ("responder", destination)):
        number, row = assets[name]
        address = ipaddress.ip_address(next(ip for ip in row["ips"] if "." in ip))
        values |= {
            end: bytes(10) + b"\xff\xff" + address.packed,
            f"{end}_zone": zones[row["zone"]],
            f"{end}_asset": number,
            f"{end}_mac": bytes.fromhex(row["macs"][0].replace(":", "")),
        }
    values |= {"opener_port": 49152 + place, "responder_port": port, "protocol": 6, "in_use": 1, "stream": place + 1}
    values |= {"flags": abi.FLOW_KNOWN_OPENER, "generation": rig.generation, "last_seen_ns": time.time_ns()} | fields
    view = attach(SegmentKind.FLOWS, rig.flows_fd, writable=True).view
    abi.FLOW.pack_into(view, abi.FLOWS_HEADER_BYTES + place * abi.FLOW.size, *values.values())


def test_plan_tells_objects_paths_and_conversations(rig: ControlRig, without_polls: str) -> None:
    """A conduit taken out: its object, the pairs that lose a path, and exactly the conversations that it carries."""
    rig.call("PUT", "/v1/stages", {"stage": "enforce", "force": True, "reason": "rehearsal"})
    put_flow(rig, "hmi-1", "plc-1", 502, 0)
    put_flow(rig, "hmi-2", "plc-1", 502, 1)
    put_flow(rig, "eng-laptop", "plc-1", 102, 2)
    put_flow(rig, "hmi-1", "plc-2", 502, 3, flags=abi.FLOW_KNOWN_OPENER | abi.FLOW_CLOSED)
    put_flow(rig, "office-pc", "plc-2", 502, 4)  # forbidden already: not cut by the plan
    status, found = rig.call("POST", "/v1/policy/plan", {"text": without_polls, "name": "less.yaml"})
    assert status == 200
    assert found["ok"]
    changes = found["changes"]
    assert not changes["same"]
    assert {(o["section"], o["name"], o["how"]) for o in changes["objects"]} == {
        ("conduits", "hmi-polls-plcs", "removed")
    }
    assert (changes["gained"], changes["lost"] > 0) == (0, True)
    assert all(path["conduits"] == ["hmi-polls-plcs"] for path in changes["paths"])
    assert {asset for path in changes["paths"] for asset in path["sources"]} >= {"hmi-1", "hmi-2"}
    flows = found["flows"]
    (group,) = flows["groups"]
    assert (group["conduit"], group["verdict"], group["service"]) == ("hmi-polls-plcs", "cut", "tcp/502")
    assert (flows["cut"], group["count"], flows["would_drop"]) == (2, 2, 0)
    assert "hmi-1 (10.20.40.10 port 49152) → plc-1" in group["examples"][0]
    assert found["recorded"] is None
    rig.call("PUT", "/v1/stages", {"stage": "monitor"})
    flows = rig.call("POST", "/v1/policy/plan", {"text": without_polls})[1]["flows"]
    assert (flows["cut"], flows["would_drop"]) == (0, 2)
    assert rig.get("/v1/policy")["generation"] == 1, "a plan changes nothing"


def test_plan_tells_conversations_that_begin_to_be_inspected(rig: ControlRig, water_works: str) -> None:
    """Enforced inspection goes on with what it has followed from the beginning, and with nothing else."""
    plain = yaml.safe_load(water_works)
    polls = plain["conduits"]["hmi-polls-plcs"]
    for key in ("operations", "constraints", "messages", "every", "refuse"):
        polls.pop(key, None)
    apply = {"text": yaml.safe_dump(plain), "force": True, "reason": "rehearsal"}
    assert rig.call("POST", "/v1/policy", apply)[0] == 200
    polls["messages"] = "full"
    looked_into = yaml.safe_dump(plain)
    rig.call("PUT", "/v1/stages", {"stage": "enforce", "force": True, "reason": "rehearsal"})
    put_flow(rig, "hmi-1", "plc-1", 502, 0, stream=0)
    put_flow(rig, "hmi-2", "plc-1", 502, 1)
    flows = rig.call("POST", "/v1/policy/plan", {"text": looked_into})[1]["flows"]
    (group,) = flows["groups"]
    assert (group["verdict"], group["reason"], group["count"]) == ("cut", "STREAM_PICKUP", 1)
    assert "hmi-1" in group["examples"][0]
    rig.call("PUT", "/v1/stages", {"stage": "monitor"})
    assert rig.call("POST", "/v1/policy/plan", {"text": looked_into})[1]["flows"]["groups"] == []


def test_plan_of_what_is_in_force_is_empty(rig: ControlRig, water_works: str) -> None:
    """The same text again: no object, no path, no stage, no conversation."""
    put_flow(rig, "hmi-1", "plc-1", 502, 0)
    found = rig.call("POST", "/v1/policy/plan", {"text": water_works})[1]
    changes = found["changes"]
    assert changes["same"]
    assert (changes["objects"], changes["paths"], changes["stages"]) == ([], [], [])
    assert (found["flows"]["judged"], found["flows"]["groups"]) == (1, [])


def test_plan_tells_stages_and_overrides_that_give_way(rig: ControlRig, water_works: str) -> None:
    """A new ceiling is a stage that changes against the override of now, which gives way."""
    rig.call("PUT", "/v1/stages", {"stage": "enforce", "force": True, "reason": "rehearsal"})
    text = water_works.replace("ceiling: monitor", "ceiling: alert")
    found = rig.call("POST", "/v1/policy/plan", {"text": text})[1]
    assert found["changes"]["stages"] == [{"object": "ceiling", "old": "enforce", "new": "alert"}]
    assert found["overrides_dropped"] == ["ceiling"]
    (site,) = found["changes"]["objects"]
    assert site["fields"] == [{"field": "ceiling", "old": "monitor", "new": "alert"}]


def test_plan_of_a_wrong_text_says_every_problem(rig: ControlRig) -> None:
    """What cannot be applied has no plan, but every problem with its place."""
    status, found = rig.call("POST", "/v1/policy/plan", {"text": "version: 1\nzones: {a: {kind: nonsense}}\n"})
    assert (status, found["ok"], found["changes"]) == (200, False, None)
    assert found["problems"][0]["line"] > 0


def test_history_show_diff_and_rollback(rig: ControlRig, water_works: str, without_polls: str) -> None:
    """By number, digest and `in-force`: texts, differences, and the way back to any of them."""
    rig.call("POST", "/v1/policy", {"text": without_polls, "name": "less.yaml", "reason": "no polls"})
    rows = rig.get("/v1/policy/history")["policies"]
    assert [(row["number"], row["in_force"], row["predecessor"]) for row in rows] == [(2, True, 1), (1, False, None)]
    assert rig.get("/v1/policy/history/1")["text"] == water_works
    assert rig.get(f"/v1/policy/history/{rows[0]['digest'][:10]}")["number"] == 2
    assert rig.call("GET", "/v1/policy/history/77")[1]["code"] == "policy_unknown"
    there = rig.call("POST", "/v1/policy/diff", {"old": {"which": "1"}, "new": {"which": "in-force"}})[1]
    back = rig.call("POST", "/v1/policy/diff", {"old": {"which": "2"}, "new": {"policy": {"text": water_works}}})[1]
    assert (there["lost"], there["gained"]) == (back["gained"], back["lost"])
    assert there["lost"] > 0
    status, answer = rig.call("POST", "/v1/policy/rollback", {"which": "1", "reason": "polls are needed"})
    assert (status, answer["digest"]) == (200, rows[1]["digest"])
    rows = rig.get("/v1/policy/history")["policies"]
    assert [(row["how"], row["outcome"]) for row in rows[:2]] == [("rollback", "confirmed"), ("apply", "rolled back")]
    assert rows[0]["reason"] == "polls are needed"
    rig.kill()
    rig.start()
    assert len(rig.get("/v1/policy/history")["policies"]) == 3, "a restart is no new policy"


def test_a_rollback_may_need_confirmation_too(rig: ControlRig, without_polls: str) -> None:
    """Going back to an older policy is a change like any other."""
    rig.call("POST", "/v1/policy", {"text": without_polls})
    status, answer = rig.call("POST", "/v1/policy/rollback", {"which": "1", "confirm_within": 1})
    assert (status, answer["pending"]["what"]) == (200, "policy")
    wait_for("the older one to go again", lambda: rig.get("/v1/policy")["text"] == without_polls)


def test_a_damaged_history_keeps_nothing_down(rig: ControlRig, water_works: str) -> None:
    """A history that is no database is set aside, a new one begun with what is in force, and status says so."""
    rig.kill()
    for name in ("history.db-wal", "history.db-shm"):
        (rig.base / "state" / name).unlink(missing_ok=True)
    (rig.base / "state" / "history.db").write_text("not a database, and long enough to be taken for one" * 100)
    rig.start()
    assert "set aside" in rig.get("/v1/status")["trouble"]["history_file"]
    (row,) = rig.get("/v1/policy/history")["policies"]
    assert (row["how"], row["in_force"]) == ("boot", True)
    assert rig.call("POST", "/v1/policy", {"text": water_works})[0] == 200
    assert list((rig.base / "state").glob("history.db.broken-*"))


def test_a_damaged_entry_of_the_history_is_no_fault_of_who_asks(rig: ControlRig) -> None:
    rig.stop()
    with sqlite3.connect(rig.base / "state" / "history.db") as database:
        database.execute("UPDATE policies SET time = 'x926'")
    database.close()
    rig.start()
    status, refused = rig.call("GET", "/v1/policy/history")
    assert (status, refused["code"]) == (500, "history_damaged")
    assert rig.get("/v1/policy")["text"]


def test_the_command_line(rig: ControlRig, water_works: str, without_polls: str, tmp_path: Path) -> None:
    """plan, apply on terms, status, confirm, history, diff, show and rollback, as an operator types them."""
    less, whole = tmp_path / "less.yaml", tmp_path / "whole.yaml"
    less.write_text(without_polls)
    whole.write_text(water_works)
    said = ctl(rig, "policy", "plan", str(less)).stdout
    assert "- conduits hmi-polls-plcs" in said
    assert "hmi-1" in said
    assert json.loads(ctl(rig, "-o", "json", "policy", "plan", str(less)).stdout)["changes"]["lost"] > 0
    assert ctl(rig, "policy", "apply", str(less), "--dry-run").stdout == said
    assert "goes back by itself" in ctl(rig, "policy", "apply", str(less), "--confirm-within", "10m").stdout
    assert "waits to be confirmed" in ctl(rig, "status").stdout
    refused = ctl(rig, "policy", "apply", str(whole), check=False)
    assert (refused.returncode, "--replace" in refused.stderr) == (3, True)
    ctl(rig, "policy", "confirm")
    assert "2 *" in ctl(rig, "policy", "history").stdout
    assert ctl(rig, "policy", "show", "1", "--text").stdout == water_works
    files = ctl(rig, "policy", "diff", str(whole), str(less)).stdout
    assert ctl(rig, "policy", "diff", "1", "in-force").stdout == files
    assert "generation 3" in ctl(rig, "policy", "rollback", "1", "--reason", "again").stdout
    assert "both mean the same" in ctl(rig, "policy", "diff", "in-force", str(whole)).stdout
    held = [sys.executable, "-m", "gateway.cli.main", "--socket", str(rig.socket), "policy", "apply", str(less)]
    held += ["--confirm-within", "10m", "--hold"]
    environment = dict(os.environ, PYTHONPATH=str(ROOT))
    with subprocess.Popen(
        held, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    ) as holder:
        wait_for("the held change", lambda: rig.get("/v1/status")["pending"])
        time.sleep(1)
        holder.kill()
        wait_for("it to go back", lambda: rig.get("/v1/policy")["text"] == water_works, 5)


def test_windows_count_in_a_plan(rig: ControlRig, water_works: str) -> None:
    """What an open window lets live is not cut by the same text, and cut when the window is another time's."""
    rig.call("PUT", "/v1/stages", {"stage": "enforce", "force": True, "reason": "rehearsal"})
    windows = "\nwindows:\n  shift: {once: [{from: %s, to: %s}]}\n"
    windowed = water_works.replace(POLLS + "\n", POLLS + "\n    windows: [shift]\n")
    opened = windowed.replace("\nwindows:\n", windows % ("2020-01-01T00:00", "2150-01-01T00:00"))
    status, answer = rig.call("POST", "/v1/policy", {"text": opened})
    assert status == 200, answer
    put_flow(rig, "hmi-1", "plc-1", 502, 0)
    found = rig.call("POST", "/v1/policy/plan", {"text": opened})[1]
    assert (found["changes"]["same"], found["flows"]["judged"], found["flows"]["groups"]) == (True, 1, [])
    closed = windowed.replace("\nwindows:\n", windows % ("2020-01-01T00:00", "2021-01-01T00:00"))
    found = rig.call("POST", "/v1/policy/plan", {"text": closed})[1]
    (group,) = found["flows"]["groups"]
    assert (group["verdict"], group["reason"]) == ("cut", "POLICY_CONDUIT_CLOSED")
    assert found["changes"]["paths"] == [], "it permits the same, at other times"
    assert [(o["section"], o["name"]) for o in found["changes"]["objects"]] == [("windows", "shift")]
    assert not found["changes"]["same"]


def test_a_plan_asks_the_tape_when_there_is_one(rig: ControlRig, water_works: str, without_polls: str) -> None:
    """What was seen and permitted is told as lost by a policy without its conduit, and not by the same policy."""
    assert rig.call("POST", "/v1/policy/plan", {"text": water_works})[1]["recorded"] is None
    put_flow(rig, "hmi-1", "plc-1", 502, 0, opener_frames=7, first_seen_ns=time.time_ns())
    event = {"source": packed("10.20.40.10"), "destination": packed("10.20.50.10"), "protocol": 6, "ethertype": 0x0800}
    conduits = {row["name"]: number for number, row in enumerate(rig.get("/v1/conduits")["conduits"])}
    zones = {zone["name"]: number for number, zone in enumerate(rig.get("/v1/zones")["zones"], start=1)}
    rig.put_event(
        **event,
        source_port=49152,
        destination_port=502,
        source_zone=zones["supervisory"],
        destination_zone=zones["control"],
        source_mac=bytes.fromhex("02000a14280a"),
        conduit=conduits["hmi-polls-plcs"],
        reason=abi.Reason.POLICY_CONDUIT,
        verdict=abi.Verdict.ACCEPT,
        policy_verdict=abi.Verdict.ACCEPT,
        stage=abi.Stage.ENFORCE,
        flags=abi.EVENT_TCP_OPENING,
    )

    def seen() -> Any:
        return rig.call("POST", "/v1/policy/plan", {"text": without_polls})[1]["recorded"]

    found = wait_for("the tape", seen)
    assert found["lost"]["flows"] > 0
    assert found["lost"]["rows"][0]["dst_asset"] == "plc-1"
    same = rig.call("POST", "/v1/policy/plan", {"text": water_works})[1]["recorded"]
    assert (same["lost"]["flows"], same["lost"]["frames"]) == (0, 0)


def packed(text: str) -> bytes:
    """An IPv4 address as the engine writes it."""
    return bytes(10) + b"\xff\xff" + ipaddress.ip_address(text).packed
