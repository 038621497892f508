"""Changes that go back by themselves: unconfirmed, unheld, over kills, restarts and reboots."""

from __future__ import annotations

import json
import random
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from fastpath.abi import Stage
from gateway.control.state_dir import OverridesRecord, StateDir
from tests.integration.control.plant import ControlRig, UnixConnection, wait_for

if TYPE_CHECKING:
    from pathlib import Path

BACK_WITHIN_S = 1.0  # of the deadline
BUSY_S = 5.0  # what a shared machine may add; the drill measures, these tests only wait


@pytest.fixture
def other(water_works: str) -> str:
    """A policy that differs from the example: another ceiling, and one conduit less open."""
    return water_works.replace("ceiling: monitor", "ceiling: alert")


def apply(rig: ControlRig, text: str, **terms: Any) -> Any:
    """Apply a text, and expect it to be taken."""
    status, body = rig.call("POST", "/v1/policy", {"text": text, "name": "other.yaml", **terms})
    assert status == 200, body
    return body


def text_in_force(rig: ControlRig) -> str:
    """The text in force."""
    return str(rig.get("/v1/policy")["text"])


def goes_back(rig: ControlRig, text: str, within_s: float = 2.0) -> None:
    """Wait until a text is in force again."""
    wait_for("the change to go back", lambda: text_in_force(rig) == text, within_s + BUSY_S)


def journal(rig: ControlRig, action: str) -> list[dict[str, Any]]:
    """Journal entries of one action, newest first."""
    return [entry for entry in rig.get("/v1/journal")["entries"] if entry["action"] == action]


def journalled(rig: ControlRig, action: str) -> dict[str, Any]:
    """The newest of them, as soon as there is one: the journal follows what it tells of."""
    found: list[dict[str, Any]] = wait_for(f"{action} in the journal", lambda: journal(rig, action))
    return found[0]


def reboot(rig: ControlRig, gone_s: float) -> None:
    """Make `pending.json` one of another boot, of a change begun so many seconds earlier by the wall clock."""
    for name in ("pending.json", "pending.json.copy"):
        path = rig.base / "state" / name
        record = json.loads(path.read_text())
        record["deadline"]["begun"]["boot_id"] = "another boot"
        record["deadline"]["begun"]["wall_ns"] -= int(gone_s * 1e9)
        path.write_text(json.dumps(record))


def test_an_unconfirmed_policy_goes_back_by_itself(rig: ControlRig, water_works: str, other: str) -> None:
    """At the deadline the policy before is in force again, in engine, kernel, journal, history and status."""
    answer = apply(rig, other, confirm_within=2, reason="try")
    assert answer["pending"]["goes_back_to"] == rig.get("/v1/policy/history/1")["digest"]
    status = rig.get("/v1/status")
    assert 0 < status["pending"]["seconds_left"] <= 2
    assert rig.ceiling() is Stage.ALERT
    assert any(finding["topic"] == "pending" for finding in rig.get("/v1/doctor")["findings"])
    assert b"conduit_change_pending 1.0" in rig.call("GET", "/v1/metrics")[1]
    goes_back(rig, water_works)
    assert rig.ceiling() is Stage.MONITOR
    wait_for("the end of the change", lambda: rig.get("/v1/status")["pending"] is None)  # its record is removed first
    back = journalled(rig, "policy.rolled_back")
    assert (back["user"], back["detail"]["why"]) == ("conduitd", "not confirmed within 2 s")
    assert journalled(rig, "policy.pending")["detail"]["seconds"] == 2
    rows = rig.get("/v1/policy/history")["policies"]
    assert [(row["how"], row["outcome"]) for row in rows] == [
        ("rollback", "confirmed"),
        ("apply", "rolled back"),
        ("boot", "superseded"),
    ]
    assert rows[0]["digest"] == rows[2]["digest"]
    assert rig.asked("apply_static")[-1]["digest"] == rows[0]["digest"]
    assert not (rig.base / "state" / "pending.json").exists()


def test_a_confirmed_policy_stays(rig: ControlRig, other: str) -> None:
    """Confirmed in time nothing goes back; confirming needs the right digest and something to confirm."""
    answer = apply(rig, other, confirm_within=2)
    status, refusal = rig.call("POST", "/v1/policy/confirm", {"digest": "0000"})
    assert (status, refusal["code"]) == (422, "digest_differs")
    assert rig.call("POST", "/v1/policy/confirm", {"digest": answer["digest"][:8]})[0] == 200
    time.sleep(2.5)
    assert text_in_force(rig) == other
    assert rig.get("/v1/policy/history")["policies"][0]["outcome"] == "confirmed"
    assert journalled(rig, "policy.confirmed")
    status, refusal = rig.call("POST", "/v1/policy/confirm", {})
    assert (status, refusal["code"]) == (404, "nothing_pending")


def test_control_killed_while_it_waits_and_started_in_time_waits_on(
    rig: ControlRig, water_works: str, other: str
) -> None:
    """The deadline is the one of before the kill, and goes on."""
    apply(rig, other, confirm_within=10)
    rig.kill()
    rig.start()
    assert text_in_force(rig) == other
    assert 0 < rig.get("/v1/status")["pending"]["seconds_left"] < 10
    goes_back(rig, water_works, 10)


def test_control_dead_over_the_deadline_goes_back_before_it_answers(
    rig: ControlRig, water_works: str, other: str
) -> None:
    """The deadline passes without a control; the next one never answers with the unconfirmed policy in force."""
    apply(rig, other, confirm_within=1)
    rig.kill()
    time.sleep(1.2)
    rig.start()
    assert text_in_force(rig) == water_works
    assert rig.get("/v1/status")["pending"] is None
    assert journalled(rig, "policy.rolled_back")["detail"]["why"] == "not confirmed within 1 s"


def test_after_a_reboot_the_wall_clock_counts(rig: ControlRig, water_works: str, other: str) -> None:
    """Everything starts anew in another boot: what is overdue never comes into force, what is not waits on."""
    apply(rig, other, confirm_within=600)
    rig.kill()
    rig.forget_engine()
    reboot(rig, 100)
    rig.start()
    assert text_in_force(rig) == other
    assert 400 < rig.get("/v1/status")["pending"]["seconds_left"] <= 500
    rig.kill()
    rig.forget_engine()
    installs = len(rig.installs)
    reboot(rig, 600)
    statics = len(rig.asked("apply_static"))
    rig.start()
    assert text_in_force(rig) == water_works
    digest = rig.get("/v1/policy")["digest"]
    assert {asked["digest"] for asked in rig.asked("apply_static")[statics:]} == {digest}, "the overdue one never stood"
    assert len(rig.installs) == installs + 1
    assert rig.get("/v1/policy/history")["policies"][0]["how"] == "rollback"
    assert journalled(rig, "policy.rolled_back")
    rig.kill()
    rig.start()
    assert len(journal(rig, "policy.rolled_back")) == 1, "it is over"


def test_a_clock_that_runs_before_the_start_lengthens_nothing(rig: ControlRig, other: str) -> None:
    """A dead battery: the wall clock is years back after a reboot, and the deadline no further than it was."""
    apply(rig, other, confirm_within=600)
    rig.kill()
    rig.forget_engine()
    reboot(rig, -1e8)
    rig.start()
    assert rig.get("/v1/status")["pending"]["seconds_left"] <= 600


def test_a_keeper_that_starts_anew_waits_on(rig: ControlRig, water_works: str, other: str) -> None:
    """The whole daemon restarts in the same boot: the policy is in force again, and goes back at its time."""
    apply(rig, other, confirm_within=10)
    rig.stop()
    rig.forget_engine()
    rig.start()
    assert text_in_force(rig) == other
    goes_back(rig, water_works, 10)


def test_a_killed_apply_leaves_nothing_that_goes_back(rig: ControlRig, water_works: str, other: str) -> None:
    """Killed between `pending.json` and the engine: the change never came into force, the next start forgets it."""
    rig.silent = True
    connection = UnixConnection(rig.socket)
    connection.request("POST", "/v1/policy", json.dumps({"text": other, "confirm_within": 1}).encode())
    wait_for("the pending record", (rig.base / "state" / "pending.json").exists)
    rig.kill()
    rig.silent = False
    connection.close()
    rig.start()
    assert text_in_force(rig) == water_works
    assert rig.get("/v1/status")["pending"] is None
    assert not (rig.base / "state" / "pending.json").exists()
    assert journal(rig, "policy.rolled_back") == []


def test_a_refused_apply_leaves_nothing_pending(rig: ControlRig, water_works: str, other: str) -> None:
    """The kernel refuses: nothing is in force, and nothing waits."""
    rig.refuse_in_kernel("apply_static")
    status, _ = rig.call("POST", "/v1/policy", {"text": other, "confirm_within": 600})
    rig.refuse_in_kernel()
    assert status == 503
    assert rig.get("/v1/status")["pending"] is None
    assert not (rig.base / "state" / "pending.json").exists()
    assert text_in_force(rig) == water_works


def test_a_second_change_is_refused_or_takes_the_place(rig: ControlRig, water_works: str, other: str) -> None:
    """Without replace it is refused with a hint; with it, what it goes back to stays the last confirmed one."""
    apply(rig, other, confirm_within=600)
    third = water_works.replace("ceiling: monitor", "ceiling: enforce")
    for path, method, body in (
        ("/v1/policy", "POST", {"text": third}),
        ("/v1/policy", "POST", {"text": third, "confirm_within": 5}),
        ("/v1/stages", "PUT", {"stage": "enforce", "confirm_within": 5, "force": True, "reason": "rehearsal"}),
    ):
        status, refusal = rig.call(method, path, body)
        assert (status, refusal["code"]) == (422, "change_pending")
        assert "confirm" in refusal["hint"]
    assert text_in_force(rig) == other
    apply(rig, third, confirm_within=1, replace=True, force=True, reason="rehearsal")
    goes_back(rig, water_works)
    apply(rig, other, confirm_within=600)
    apply(rig, third, replace=True, force=True, reason="rehearsal")
    assert rig.get("/v1/pending") == {"pending": None, "ended": "replaced"}
    assert text_in_force(rig) == third


def test_overrides_are_those_of_before_and_what_was_set_since_stands(rig: ControlRig, other: str) -> None:
    """An override that the new text drops comes back; a stage that an operator set meanwhile is not undone."""
    rig.call("PUT", "/v1/stages", {"stage": "enforce", "force": True, "reason": "rehearsal"})
    answer = apply(rig, other, confirm_within=2)
    assert answer["overrides_dropped"] == ["ceiling"]
    rig.call("PUT", "/v1/stages", {"stage": "monitor", "conduit": "hmi-polls-plcs"})
    wait_for("the change to go back", lambda: rig.get("/v1/status")["pending"] is None)
    stages = rig.get("/v1/stages")
    assert (stages["ceiling"]["stage"], stages["ceiling"]["overridden"]) == ("enforce", True)
    (polls,) = [row for row in stages["conduits"] if row["conduit"] == "hmi-polls-plcs"]
    assert (polls["stage"], polls["overridden"]) == ("monitor", True)


def test_calming_meanwhile_is_not_undone(rig: ControlRig, other: str) -> None:
    """`stage set monitor` while a change waits: going back does not raise the ceiling again."""
    rig.call("PUT", "/v1/stages", {"stage": "enforce", "force": True, "reason": "rehearsal"})
    apply(rig, other, confirm_within=1)
    rig.call("PUT", "/v1/stages", {"stage": "monitor"})
    wait_for("the change to go back", lambda: rig.get("/v1/status")["pending"] is None)
    assert rig.ceiling() is Stage.MONITOR
    rig.kill()
    rig.start()
    assert rig.ceiling() is Stage.MONITOR


def test_a_stage_on_terms_goes_back_over_a_kill(rig: ControlRig) -> None:
    """Promotion is a change like any other: unconfirmed it goes back, with control killed in between."""
    terms = {"confirm_within": 10, "reason": "promote", "force": True}
    status, answer = rig.call("PUT", "/v1/stages", {"stage": "enforce", **terms})
    assert status == 200
    assert answer["pending"]["what"] == "stage"
    assert rig.ceiling() is Stage.ENFORCE
    rig.kill()
    rig.start()
    assert rig.ceiling() is Stage.ENFORCE
    wait_for("the stage to go back", lambda: rig.ceiling() is Stage.MONITOR, 10 + BUSY_S)
    wait_for("an end", lambda: rig.get("/v1/status")["pending"] is None)
    assert journalled(rig, "stage.rolled_back")["user"] == "conduitd"
    assert rig.get("/v1/stages")["ceiling"]["overridden"] is False
    rig.call("PUT", "/v1/stages", {"stage": "enforce", "confirm_within": 600, "force": True, "reason": "rehearsal"})
    assert rig.call("POST", "/v1/policy/confirm", {})[0] == 200
    assert journalled(rig, "stage.confirmed")


def test_a_rollback_that_fails_is_loud_and_tried_again(rig: ControlRig, water_works: str, other: str) -> None:
    """The kernel refuses the way back: status says so, and when it no longer refuses the change goes back."""
    apply(rig, other, confirm_within=1)
    rig.refuse_in_kernel("apply_static")
    wait_for("trouble", lambda: "trying again" in rig.get("/v1/status")["trouble"].get("pending", ""))
    assert rig.get("/v1/status")["state"] == "degraded"
    assert rig.get("/v1/policy")["text"] == other, "what is in force is said as it is"
    assert journalled(rig, "policy.rolled_back")["result"] == "refused"
    rig.refuse_in_kernel()
    goes_back(rig, water_works)
    wait_for("no trouble", lambda: "pending" not in rig.get("/v1/status")["trouble"])


def test_taking_it_back_by_hand(rig: ControlRig, water_works: str, other: str) -> None:
    """An operator need not wait for the deadline."""
    apply(rig, other, confirm_within=600)
    status, answer = rig.call("POST", "/v1/policy/rollback", {"reason": "pumps stopped"})
    assert (status, answer["pending"]) == (200, None)
    assert text_in_force(rig) == water_works
    assert journalled(rig, "policy.rolled_back")["detail"]["why"] == "pumps stopped"


def test_a_provisional_policy_that_is_refused_at_a_start_goes_back(
    rig: ControlRig, water_works: str, other: str
) -> None:
    """After an upgrade the daemon cannot read it any more: what was confirmed last comes into force, and says why."""
    apply(rig, other, confirm_within=600)
    rig.stop()
    rig.forget_engine()
    path = rig.base / "state" / "in-force.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | {"text": "version: 99"}))
    rig.start()
    assert text_in_force(rig) == water_works
    assert rig.get("/v1/status")["pending"] is None
    assert "cannot use it" in journalled(rig, "policy.rolled_back")["detail"]["why"]


class Holder:
    """One connection that holds the pending change."""

    def __init__(self, path: Path) -> None:
        self._connection = UnixConnection(path)
        self._connection.request("GET", "/v1/pending/hold")
        self._answer = self._connection.getresponse()

    def line(self) -> Any:
        """The next line."""
        return json.loads(self._answer.readline())

    def hang_up(self) -> None:
        """As a terminal that is closed does."""
        self._answer.close()
        if self._connection.sock is not None:
            self._connection.sock.close()
        self._connection.close()


def test_a_held_change_goes_back_when_the_holder_hangs_up(rig: ControlRig, water_works: str, other: str) -> None:
    """While it is held it waits; the end of the connection takes it back at once, long before the deadline."""
    apply(rig, other, confirm_within=600, hold=True)
    holder = Holder(rig.socket)
    assert holder.line()["pending"]["hold"] is True
    time.sleep(6)  # longer than a change may be without a holder
    assert text_in_force(rig) == other
    holder.hang_up()
    goes_back(rig, water_works, 1)
    assert journalled(rig, "policy.rolled_back")["detail"]["why"] == "the connection that held it ended"


def test_a_held_change_is_told_its_end_and_needs_a_holder(rig: ControlRig, water_works: str, other: str) -> None:
    """Confirmed by somebody, the holder hears so; a held change that nobody comes to hold goes back."""
    apply(rig, other, confirm_within=600, hold=True)
    holder = Holder(rig.socket)
    holder.line()
    assert rig.call("POST", "/v1/policy/confirm", {})[0] == 200
    while (line := holder.line())["pending"] is not None:
        continue
    assert line["ended"] == "confirmed"
    holder.hang_up()
    apply(rig, water_works, confirm_within=600, hold=True)
    goes_back(rig, other, 6)
    assert journalled(rig, "policy.rolled_back")["detail"]["why"] == "nobody held it"
    assert rig.call("POST", "/v1/policy", {"text": other, "hold": True})[0] == 400


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
