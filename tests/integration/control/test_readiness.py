"""Raising to enforce needs proof: refused with what is missing, acknowledged by a person, or forced with a reason."""

from __future__ import annotations

import json
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from fastpath.abi import Stage
from rules.compile import compile_text
from tests.integration.control.plant import ControlRig, wait_for
from tests.integration.control.test_tape import conduitctl, forbidden

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DAY_NS = 86_400 * 10**9
PAIR = {"pair": ["enterprise", "control"]}
CYCLES = """
cycles:
  shift: {every: 8h, minimum: 9}
  backup: {every: 30d}
"""


@pytest.fixture
def watched(tmp_path: Path, water_works: str) -> Iterator[ControlRig]:
    """A control plane whose policy declares cycles, with three days and a half recorded."""
    made = ControlRig(tmp_path, water_works + CYCLES)
    try:
        made.start()
        made.stop()
        remember(made, 3.5)
        made.start()
        assert made.call("PUT", "/v1/stages", {"stage": "monitor", **PAIR})[0] == 200  # the text says enforce
        yield made
    finally:
        made.stop()


def remember(rig: ControlRig, days: float) -> None:
    """Write into the tape that everything was recorded until a minute ago, as its recorder would have."""
    lowered = compile_text(rig.policy_file.read_text()).lowered
    ports = {port.number: port.name for port in lowered.ports}
    zones = {zone.number: zone.name for zone in lowered.zones}
    ways = sorted([ports[way.port], way.vlan, zones[way.zone]] for way in lowered.port_zones)
    with sqlite3.connect(rig.base / "state" / "tape.sqlite") as tape:
        tape.execute("INSERT OR IGNORE INTO zonings (ways) VALUES (?)", (orjson.dumps(ways).decode(),))
        (zoning,) = tape.execute("SELECT max(id) FROM zonings").fetchone()
        now = time.time_ns() - 60 * 10**9
        tape.execute("INSERT INTO recorded VALUES (?, ?, ?)", (now - int(days * DAY_NS), now, zoning))
    tape.close()


def row(rig: ControlRig, query: str = "?pair=enterprise:control") -> dict[str, Any]:
    """Return the readiness of one object."""
    (found,) = rig.get(f"/v1/readiness{query}")["objects"]
    return dict(found)


def journal(rig: ControlRig, action: str) -> list[dict[str, Any]]:
    """Return what the journal says of an action, newest first."""
    return [entry for entry in rig.get("/v1/journal")["entries"] if entry["action"] == action]


def test_what_was_not_observed_is_refused_in_words_and_nothing_changes(watched: ControlRig) -> None:
    status, refused = watched.call("PUT", "/v1/stages", {"stage": "enforce", **PAIR, "reason": "Monday"})
    assert (status, refused["code"]) == (422, "not_ready")
    assert "0 of 1 occurrences of cycle backup observed" in refused["detail"]
    assert "shift" not in refused["detail"]  # 3.5 days are ten of them
    assert row(watched)["stage"] == "monitor"
    entry = journal(watched, "stage.set")[0]
    assert (entry["result"], entry["detail"]["object"]) == ("refused", "pair:enterprise:control")
    shift, backup = row(watched)["cycles"]
    assert (shift["name"], shift["observed"], shift["minimum"], shift["done"]) == ("shift", 10, 9, True)
    assert (backup["observed"], backup["done"]) == (0, False)


def test_lowering_and_alert_never_ask(watched: ControlRig) -> None:
    for stage in ("alert", "monitor"):
        assert watched.call("PUT", "/v1/stages", {"stage": stage, **PAIR})[0] == 200
    assert watched.call("PUT", "/v1/stages", {"stage": "alert"})[0] == 200


def test_a_would_drop_must_be_acknowledged_by_exactly_what_it_is(watched: ControlRig) -> None:
    """Acknowledging covers the group that it names, is journalled, and ends when it is withdrawn or over."""
    watched.stop()
    remember(watched, 31)
    watched.start()
    for host in (66, 66, 67):
        forbidden(watched, host)
    wait_for("both groups", lambda: len(row(watched)["would_drops"]) == 2)
    missing = row(watched)["missing"]
    assert missing[0] == "2 frames of office-laptop → plc-1 tcp/502 (POLICY_NO_CONDUIT) not acknowledged"
    assert missing[1].startswith("1 frame of 10.20.10.67 → plc-1 ")
    destination = row(watched)["would_drops"][0]["destination"]
    named = {"source": "office-laptop", "destination": destination, "service": "tcp/502", "reason": "old laptop"}
    status, taken = watched.call("POST", "/v1/readiness/acknowledge", named)
    assert status == 200, taken
    (one,) = taken["acknowledgements"]
    assert (one["object"], one["code"], one["holds"]) == ("pair:enterprise:control", "POLICY_NO_CONDUIT", True)
    assert watched.call("POST", "/v1/readiness/acknowledge", named)[0] == 404  # nothing is left of it
    assert len(row(watched)["missing"]) == 1
    assert watched.call("PUT", "/v1/stages", {"stage": "enforce", **PAIR})[0] == 422
    until = (datetime.now(UTC) + timedelta(seconds=4)).isoformat()
    rest = {"source": "*", "destination": "*", "service": "*", "reason": "scan", "until": until}
    assert watched.call("POST", "/v1/readiness/acknowledge", rest)[0] == 200
    assert row(watched)["ready"] is True
    wait_for("its end", lambda: not row(watched)["ready"])
    assert watched.call("POST", "/v1/readiness/acknowledge", rest | {"until": None})[0] == 200
    watched.kill()
    watched.start()  # acknowledgements outlive control
    status, changed = watched.call("PUT", "/v1/stages", {"stage": "enforce", **PAIR})
    assert (status, changed["stage"]) == (200, "enforce")
    assert [entry["detail"]["numbers"] for entry in journal(watched, "readiness.acknowledge")] == [[3], [2], [1]]
    assert not journal(watched, "stage.forced")
    assert watched.call("DELETE", "/v1/readiness/acknowledge/1")[0] == 200
    assert watched.call("DELETE", "/v1/readiness/acknowledge/1")[0] == 404
    assert journal(watched, "readiness.withdraw")[0]["detail"]["number"] == 1
    assert row(watched)["ready"] is False
    assert row(watched)["stage"] == "enforce"  # what enforces goes on


def test_force_acts_and_says_what_was_missing(watched: ControlRig) -> None:
    assert watched.call("PUT", "/v1/stages", {"stage": "enforce", "force": True})[0] == 400
    body = {"stage": "enforce", "force": True, "reason": "ransomware next door"}
    status, changed = watched.call("PUT", "/v1/stages", body)
    assert (status, changed["effective"]) == (200, "enforce")
    assert watched.ceiling() is Stage.ENFORCE
    (entry,) = journal(watched, "stage.forced")
    assert entry["detail"]["reason"] == "ransomware next door"
    assert "site: 0 of 1 occurrences of cycle backup observed" in entry["detail"]["missing"]
    assert "ceiling" in entry["detail"]["objects"]
    forced = [event for event in watched.get("/v1/events")["events"] if event.get("action") == "stage.forced"]
    assert [event["missing"] for event in forced] == [entry["detail"]["missing"]]


def test_the_ceiling_needs_what_it_raises_and_a_conduit_its_use(watched: ControlRig) -> None:
    """The ceiling asks for every conduit whose own stage is enforce; one that carried nothing must be taken on."""
    status, refused = watched.call("PUT", "/v1/stages", {"stage": "enforce"})
    assert (status, refused["code"]) == (422, "not_ready")
    assert "conduit hmi-polls-plcs: " in refused["detail"]
    conduit = row(watched, "?conduit=hmi-polls-plcs")
    assert conduit["used"] is False
    assert any("never used" in text for text in conduit["missing"])
    taken = {"conduit": "hmi-polls-plcs", "reason": "seasonal"}
    assert watched.call("POST", "/v1/readiness/acknowledge", taken)[0] == 200
    assert not any("never used" in text for text in row(watched, "?conduit=hmi-polls-plcs")["missing"])
    assert watched.call("POST", "/v1/readiness/acknowledge", {"conduit": "nobody", "reason": "x"})[0] == 404


def test_a_text_that_raises_a_stage_is_asked_as_an_operator_is(watched: ControlRig) -> None:
    text = watched.get("/v1/policy")["text"]
    raised = text.replace("ceiling: monitor", "ceiling: enforce")
    assert raised != text
    status, refused = watched.call("POST", "/v1/policy", {"text": raised})
    assert (status, refused["code"]) == (422, "not_ready")
    assert watched.ceiling() is Stage.MONITOR
    assert journal(watched, "policy.apply")[0]["result"] == "refused"
    status, _ = watched.call("POST", "/v1/policy", {"text": raised, "force": True, "reason": "rehearsal"})
    assert status == 200
    assert watched.ceiling() is Stage.ENFORCE
    assert journal(watched, "stage.forced")[0]["detail"]["missing_count"] > 0
    assert watched.call("POST", "/v1/policy", {"text": text})[0] == 200  # lowering
    assert watched.call("POST", "/v1/policy/rollback", {"which": "2"})[0] == 200  # what was in force comes back
    assert watched.ceiling() is Stage.ENFORCE


def test_a_new_conduit_answers_what_it_permits(watched: ControlRig) -> None:
    """What was seen is judged by the policy of now: a would-drop that a conduit was added for is none any more."""
    for _ in range(3):
        forbidden(watched, 66)
    wait_for("the would-drop", lambda: row(watched)["would_drops"])
    text = watched.get("/v1/policy")["text"]
    conduit = "conduits:\n  laptop: {from: {asset: office-laptop}, to: {asset: plc-1}, services: [modbus]}\n"
    waived = "\nwaivers: [{code: POL202, at: conduits/laptop, who: J. Doe, why: rehearsal, until: 2027-01-01}]\n"
    status, answer = watched.call("POST", "/v1/policy", {"text": text.replace("conduits:\n", conduit) + waived})
    assert status == 200, answer
    assert row(watched)["would_drops"] == []


def test_command_line(watched: ControlRig) -> None:
    for _ in range(2):
        forbidden(watched, 66)
    wait_for("the would-drop", lambda: row(watched)["would_drops"])

    def ctl(*words: str) -> tuple[int, str]:
        done = conduitctl("--socket", str(watched.socket), *words)
        return done.returncode, (done.stdout + done.stderr).decode()

    code, shown = ctl("readiness", "--pair", "enterprise", "control")
    assert code == 0, shown
    assert "shift 10/9, backup 0/1" in shown
    assert "office-laptop" in shown
    code, shown = ctl("readiness", "-o", "json")
    objects = {one["object"]: one for one in json.loads(shown)["objects"]}
    assert {"ceiling", "conduit:hmi-polls-plcs", "pair:enterprise:control"} <= objects.keys()
    destination = objects["pair:enterprise:control"]["would_drops"][0]["destination"]
    words = ("office-laptop", destination, "tcp/502")
    assert ctl("readiness", "acknowledge", *words)[0] == 2  # no reason
    code, shown = ctl("readiness", "acknowledge", *words, "--reason", "old laptop", "--until", "2099-01-01")
    assert (code, "old laptop" in shown) == (0, True), shown
    assert ctl("readiness", "acknowledge", *words, "--reason", "again")[0] == 3
    code, shown = ctl("stage", "set", "enforce", "--pair", "enterprise", "control")
    assert (code, "0 of 1 occurrences of cycle backup" in shown, "--force" in shown) == (3, True, True), shown
    assert ctl("stage", "set", "enforce", "--pair", "enterprise", "control", "--force")[0] == 2
    code, shown = ctl("stage", "set", "enforce", "--pair", "enterprise", "control", "--force", "--reason", "now")
    assert code == 0, shown
    assert ctl("readiness", "withdraw", "1")[0] == 0
    assert ctl("readiness", "--since", "1h", "--conduit", "nobody")[0] == 3


def test_a_plan_says_what_an_apply_would_be_refused_for(watched: ControlRig, tmp_path: Path) -> None:
    text = watched.get("/v1/policy")["text"]
    raised = text.replace("ceiling: monitor", "ceiling: enforce")
    status, plan = watched.call("POST", "/v1/policy/plan", {"text": raised})
    assert (status, plan["ok"]) == (200, True)
    assert "ceiling" in plan["raised"]
    _, refused = watched.call("POST", "/v1/policy", {"text": raised})
    assert refused["detail"] == "not ready to enforce: " + "; ".join(plan["missing"])
    _, same = watched.call("POST", "/v1/policy/plan", {"text": text})
    assert (same["raised"], same["missing"]) == ([], [])
    (tmp_path / "raised.yaml").write_text(raised)
    done = conduitctl("--socket", str(watched.socket), "policy", "plan", str(tmp_path / "raised.yaml"))
    shown = done.stdout.decode()
    assert done.returncode == 0, done.stderr
    assert "raises to enforce: ceiling" in shown
    assert "0 of 1 occurrences of cycle backup" in shown
    assert "--force" in shown


def test_whoever_only_looks_does_not_queue_up_before_an_engineer(watched: ControlRig) -> None:
    """Proofs are made one at a time; a viewer who asks for many at once is turned away."""
    with ThreadPoolExecutor(8) as pool, sqlite3.connect(watched.base / "state" / "tape.sqlite") as tape:
        tape.execute("BEGIN IMMEDIATE")  # every proof waits now
        asked = [pool.submit(watched.call, "GET", "/v1/readiness") for _ in range(8)]
        wait_for("the ones that are turned away", lambda: sum(one.done() for one in asked) >= 6)
        tape.rollback()
        found = [one.result() for one in asked]
    assert sorted(status for status, _ in found) == [200, 200, 503, 503, 503, 503, 503, 503]
    assert {body["code"] for status, body in found if status == 503} == {"busy"}
    assert watched.call("GET", "/v1/readiness")[0] == 200


def test_what_a_forced_policy_lacked_is_looked_up_while_the_plant_can_be_calmed(watched: ControlRig) -> None:
    """Force acts first: neither calming the site nor a rollback waits until the tape was replayed for the journal."""
    raised = watched.get("/v1/policy")["text"].replace("ceiling: monitor", "ceiling: enforce")
    body = {"text": raised, "force": True, "reason": "rehearsal"}
    with ThreadPoolExecutor(1) as pool, sqlite3.connect(watched.base / "state" / "tape.sqlite") as tape:
        tape.execute("BEGIN IMMEDIATE")  # whoever writes to the tape now, and a proof does, waits for two seconds
        applying = pool.submit(watched.call, "POST", "/v1/policy", body)
        wait_for("the raised ceiling", lambda: watched.ceiling() is Stage.ENFORCE)
        assert watched.call("PUT", "/v1/stages", {"stage": "monitor"})[0] == 200
        assert not journal(watched, "stage.forced"), "calming waited for the look-up"
        tape.rollback()
        assert applying.result()[0] == 200
    assert watched.ceiling() is Stage.MONITOR
    assert journal(watched, "policy.apply")[0]["detail"]["forced"] is True  # known also when the look-up never ends
    assert journal(watched, "stage.forced")[0]["detail"]["missing_count"] > 0
