"""Provisional changes and what crashes, damage and power cuts leave of them."""

from __future__ import annotations

import json
import random
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from gateway.control.state_dir import OverridesRecord, StateDir
from tests.integration.control.changes import apply, goes_back, journalled, reboot, text_in_force
from tests.integration.control.plant import ControlRig, UnixConnection, wait_for

if TYPE_CHECKING:
    pass


@pytest.mark.parametrize("part", range(3))
def test_killed_at_any_moment_it_goes_back(rig: ControlRig, water_works: str, other: str, seed: int, part: int) -> None:
    """Kill -9 at random moments of the apply and around the deadline: what is in force is whole, and it goes back."""
    rng = random.Random(seed * 10 + part)
    connection = UnixConnection(rig.socket)
    connection.request("POST", "/v1/policy", json.dumps({"text": other, "confirm_within": 4}).encode())
    time.sleep(rng.uniform(0, 0.5))
    rig.kill()
    connection.close()
    rig.start()
    state = rig.get("/v1/status")
    assert text_in_force(rig) == (other if state["pending"] else water_works), f"seed {seed} part {part}"
    left = state["pending"]["seconds_left"] if state["pending"] else 0
    time.sleep(max(0, left + rng.uniform(-0.1, 0.3)))
    rig.kill()
    rig.start()
    goes_back(rig, water_works, 4)
    wait_for("an end", lambda: rig.get("/v1/status")["pending"] is None)
    assert rig.get("/v1/status")["trouble"] == {}
    assert rig.asked("apply_static")[-1]["digest"] == rig.get("/v1/policy")["digest"]
    assert rig.installs[-1] == rig.get("/v1/policy")["generation"]
    outcomes = [row["outcome"] for row in rig.get("/v1/policy/history")["policies"]]
    assert outcomes[0] == "confirmed"
    assert "provisional" not in outcomes


def test_a_change_cut_off_while_it_takes_the_place_of_another_loses_no_way_back(
    rig: ControlRig, water_works: str, other: str
) -> None:
    """Killed after the second change was written down and before it came into force: the first one still goes back."""
    first = apply(rig, other, confirm_within=8)
    rig.silent = True  # the engine never answers: the second change stays half done
    third = water_works.replace("ceiling: monitor", "ceiling: alert").replace("name: ", "name: x-", 1)
    terms = {"text": third, "name": "third.yaml", "confirm_within": 60, "replace": True}
    with ThreadPoolExecutor(1) as pool:
        applying = pool.submit(rig.call, "POST", "/v1/policy", terms)
        wait_for("the install", lambda: rig.installs[-1] > first["generation"])
        rig.kill()
        assert applying.exception() is not None
    rig.silent = False
    rig.start()
    pending = rig.get("/v1/status")["pending"]
    assert pending is not None, "what nobody confirmed was taken for confirmed"
    assert pending["digest"] == first["digest"]
    assert rig.get("/v1/policy/history")["policies"][0]["outcome"] == "provisional"
    goes_back(rig, water_works, 10)


def test_damaged_records_of_a_change_do_not_confirm_it(rig: ControlRig, other: str) -> None:
    apply(rig, other, confirm_within=60)
    rig.kill()
    for name in ("pending.json", "pending.json.copy"):
        (rig.base / "state" / name).write_text("{")
    rig.start()
    assert "pending.json" in rig.get("/v1/status")["trouble"]["state_dir"]
    assert rig.get("/v1/policy/history")["policies"][0]["outcome"] == "provisional"


def test_a_stage_whose_time_is_over_is_not_in_force_for_a_moment_at_boot(rig: ControlRig) -> None:
    body = {"stage": "enforce", "confirm_within": 60, "force": True, "reason": "try"}
    assert rig.call("PUT", "/v1/stages", body)[0] == 200
    rig.kill()
    reboot(rig, gone_s=100)
    rig.forget_engine()
    seen = len(rig.asked("apply_static"))
    rig.start()
    assert {asked["ceiling"] for asked in rig.asked("apply_static")[seen:]} == {"MONITOR"}
    assert rig.get("/v1/status")["pending"] is None
    assert journalled(rig, "stage.rolled_back")


def test_going_back_to_an_older_policy_brings_its_stages_and_raises_none(rig: ControlRig, water_works: str) -> None:
    """A stage that operators held lower under it is held lower again; a newer calm stands."""
    pair = {"pair": ["enterprise", "control"]}
    assert rig.call("PUT", "/v1/stages", {"stage": "monitor", **pair})[0] == 200  # the text says enforce
    lower = water_works.replace('to: "*", stage: enforce', 'to: "*", stage: monitor')
    assert lower != water_works

    def stage() -> str:
        (found,) = [one for one in rig.get("/v1/stages")["pairs"] if one["pair"] == pair["pair"]]
        return str(found["stage"])

    dropped = apply(rig, lower)["overrides_dropped"]
    assert dropped == ["pair:enterprise:control"]
    assert rig.call("PUT", "/v1/stages", {"stage": "monitor", "conduit": "hmi-polls-plcs"})[0] == 200
    assert rig.call("POST", "/v1/policy/rollback", {"which": "1"})[0] == 200
    assert text_in_force(rig) == water_works
    assert stage() == "monitor"
    assert rig.call("PUT", "/v1/stages", {"stage": "alert", **pair})[0] == 200
    rig.kill()
    rig.forget_engine()
    rig.start()
    assert stage() == "alert"
    apply(rig, lower)
    assert rig.call("POST", "/v1/policy/rollback", {"which": "3"})[0] == 200
    assert stage() == "alert", "as it stood at its end, over a restart"


def test_overrides_belong_to_the_policy_that_a_crash_leaves_in_force(rig: ControlRig, other: str) -> None:
    """A change writes its overrides before it becomes the policy in force: cut off in between, the old ones stand."""
    assert rig.call("PUT", "/v1/stages", {"stage": "monitor", "pair": ["enterprise", "control"]})[0] == 200
    rig.kill()
    state = StateDir(rig.base / "state")
    state.save_overrides(OverridesRecord(overrides={}, generation=rig.generation + 1))
    rig.forget_engine()
    rig.start()
    assert rig.get("/v1/status")["overrides"] == 1


@pytest.mark.parametrize("damage", ["text", "slot", "negative"])
def test_a_record_that_changed_on_the_disk_is_never_in_force_under_its_old_digest(rig: ControlRig, damage: str) -> None:
    """A flipped bit that leaves good JSON and a good policy: what is in force has the digest of what it means."""
    before = rig.get("/v1/policy")["digest"]
    rig.stop()
    path = rig.base / "state" / "in-force.json"
    record = json.loads(path.read_text())
    if damage == "text":
        record["text"] = record["text"].replace("ceiling: monitor", "ceiling: alert")
    else:
        record["slots"][next(iter(record["slots"]))] = 1 << 40 if damage == "slot" else -3
    path.write_text(json.dumps(record))
    rig.forget_engine()
    rig.start()
    status = rig.get("/v1/status")
    if damage == "text":
        assert status["policy"]["digest"] != before, "another policy under the digest of the old one"
        assert before[:12] in status["trouble"]["policy"]
        newest = rig.get("/v1/policy/history")["policies"][0]
        assert (newest["how"], newest["digest"]) == ("boot", status["policy"]["digest"])
    else:
        assert status["policy"]["digest"] == before
        assert rig.get("/v1/conduits")["conduits"]
