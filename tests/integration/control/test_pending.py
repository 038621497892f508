"""Changes that go back by themselves: unconfirmed, unheld, over kills, restarts and reboots."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from fastpath.abi import Stage
from tests.integration.control.changes import BUSY_S, apply, goes_back, journal, journalled, reboot, text_in_force
from tests.integration.control.plant import ControlRig, UnixConnection, wait_for

if TYPE_CHECKING:
    from pathlib import Path


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
