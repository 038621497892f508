"""What is in force: policies in and out, stages, quarantine, and all of it again after a kill -9."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from fastpath.abi import Stage
from tests.integration.control.plant import ControlRig, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


ENTRY = "{from: {zone: supervisory}, to: {zone: control}, services: ssh, owner: us, reason: a test, stage: monitor}"


def test_wrong_policy_changes_nothing(rig: ControlRig, water_works: str) -> None:
    """A text with mistakes is refused with every mistake and its place; digest and generation stay."""
    before = rig.get("/v1/status")["policy"]
    wrong = water_works.replace("kind: dmz", "kind: nonsense").replace("zone: safety\n", "zone: nowhere\n", 1)
    status, body = rig.call("POST", "/v1/policy", {"text": wrong, "name": "wrong.yaml"})
    assert (status, body["code"]) == (422, "policy_refused")
    assert len(body["problems"]) >= 2
    assert all(problem["path"] == "wrong.yaml" and problem["line"] > 0 for problem in body["problems"])
    assert rig.get("/v1/status")["policy"] == before
    assert rig.installs == [1]


def test_new_policy_comes_into_force(rig: ControlRig, water_works: str) -> None:
    """A right text gets a new generation in engine and kernel, and the journal says who did it."""
    text = water_works.replace("reason: Trends", "reason: More trends").replace("ceiling: monitor", "ceiling: alert")
    checked = rig.call("POST", "/v1/policy/check", {"text": text})[1]
    assert checked["ok"] is True
    assert checked["changes"]["conduits"]["changed"] == ["scada-polls-plcs"]
    status, body = rig.call("POST", "/v1/policy", {"text": text, "reason": "season"})
    assert (status, body["generation"]) == (200, 2)
    assert body["digest"] == checked["digest"]
    assert rig.ceiling() is Stage.ALERT
    assert rig.asked("apply_static")[-1]["digest"] == body["digest"]
    assert rig.get("/v1/policy")["text"] == text
    assert rig.get("/v1/journal")["entries"][0]["action"] == "policy.apply"


def test_engine_refusal_rolls_back(rig: ControlRig, water_works: str) -> None:
    """When the engine refuses the image, the old policy stays, and no candidate is left behind."""
    before = rig.get("/v1/status")["policy"]
    rig.refuse = "too large for me"
    status, body = rig.call("POST", "/v1/policy", {"text": water_works.replace("ceiling: monitor", "ceiling: alert")})
    assert (status, body["code"]) == (503, "engine_refused")
    rig.refuse = None
    assert rig.get("/v1/status")["policy"] == before
    assert not (rig.base / "state" / "candidate.json").exists()
    assert rig.asked("apply_static")[-1]["digest"] == before["digest"]


def test_kernel_refusal_rolls_back(rig: ControlRig, water_works: str) -> None:
    """When the kernel refuses the static rules, the engine gets its old image back."""
    before = rig.get("/v1/status")["policy"]
    rig.refuse_in_kernel("apply_static")
    status, _ = rig.call("POST", "/v1/policy", {"text": water_works.replace("ceiling: monitor", "ceiling: alert")})
    assert status == 503
    assert rig.installs == [1, 2, 1]
    assert rig.ceiling() is Stage.MONITOR
    rig.refuse_in_kernel()
    assert rig.get("/v1/status")["policy"] == before
    assert rig.call("POST", "/v1/policy", {"text": water_works})[1]["generation"] == 3


def test_a_policy_that_was_put_back_leaves_its_slots_to_nobody(rig: ControlRig, water_works: str) -> None:
    """The engine may have counted for its conduits: the next new conduit gets another slot, also after a restart."""

    def slots() -> dict[str, int]:
        return dict(json.loads((rig.base / "state" / "in-force.json").read_text())["slots"])

    def added(name: str) -> str:
        return water_works.replace("  hmi-polls-plcs:", f"  {name}: {ENTRY}\n  hmi-polls-plcs:")

    before, known = rig.get("/v1/status")["policy"], slots()
    rig.refuse_in_kernel("apply_static")
    assert rig.call("POST", "/v1/policy", {"text": added("tried")})[0] == 503
    rig.refuse_in_kernel()
    tried = slots()
    assert {name: slot for name, slot in tried.items() if name != "tried"} == known
    assert tried["tried"] not in known.values()
    rig.kill()
    rig.start()
    assert rig.get("/v1/status")["policy"] == before
    assert rig.call("POST", "/v1/policy", {"text": added("other")})[0] == 200
    assert slots()["other"] not in tried.values()
    assert rig.call("POST", "/v1/policy", {"text": added("tried")})[0] == 200
    assert slots()["tried"] == tried["tried"], "it finds what was counted for it"


def test_stage_is_set_before_the_answer(rig: ControlRig) -> None:
    """Ceiling, conduit and pair: when the request is answered, the engine's segment has the stage."""
    status, body = rig.call("PUT", "/v1/stages", {"stage": "enforce", "reason": "ready", "force": True})
    assert (status, body["previous"], body["effective"]) == (200, "monitor", "enforce")
    assert rig.ceiling() is Stage.ENFORCE
    assert rig.asked("update_static")[-1]["ceiling"] == "ENFORCE"
    status, body = rig.call("PUT", "/v1/stages", {"stage": "alert", "conduit": "hmi-polls-plcs"})
    assert (status, body["object"], body["policy_stage"]) == (200, "conduit:hmi-polls-plcs", "enforce")
    status, body = rig.call("PUT", "/v1/stages", {"stage": "monitor", "pair": ["unknown", "control"]})
    assert (status, body["object"]) == (200, "pair:(unknown):control")
    states = {state["object"]: state for state in rig.get("/v1/stages")["pairs"]}
    assert states["pair:(unknown):control"]["overridden"] is True
    assert rig.get("/v1/status")["overrides"] == 3


def test_stage_is_taken_back_when_the_kernel_refuses(rig: ControlRig) -> None:
    """Engine and static never differ: a refused change is taken back from the segment."""
    rig.refuse_in_kernel("update_static")
    status, _ = rig.call("PUT", "/v1/stages", {"stage": "enforce", "force": True, "reason": "rehearsal"})
    assert status == 503
    assert rig.ceiling() is Stage.MONITOR
    assert rig.get("/v1/status")["overrides"] == 0


def test_override_survives_a_swap_unless_the_text_speaks(rig: ControlRig, water_works: str) -> None:
    """A stage set at run time outlives a policy change; a text that changes that object's stage wins over it."""
    rig.call("PUT", "/v1/stages", {"stage": "enforce", "force": True, "reason": "rehearsal"})
    rig.call("POST", "/v1/policy", {"text": water_works + "\n# season\n"})
    assert rig.ceiling() is Stage.ENFORCE
    status, body = rig.call("POST", "/v1/policy", {"text": water_works.replace("ceiling: monitor", "ceiling: alert")})
    assert (status, body["overrides_dropped"]) == (200, ["ceiling"])
    assert rig.ceiling() is Stage.ALERT


def test_kill_9_resumes_everything(rig: ControlRig) -> None:
    """After kill -9 the next control has the same generation, stages and quarantine, and installs nothing."""
    rig.call("PUT", "/v1/stages", {"stage": "enforce", "force": True, "reason": "rehearsal"})
    rig.call("PUT", "/v1/stages", {"stage": "alert", "conduit": "hmi-polls-plcs"})
    rig.call("POST", "/v1/quarantine", {"target": "office-laptop", "reason": "beaconing", "seconds": 3600})
    before = rig.get("/v1/status")
    stages = rig.get("/v1/stages")
    rig.kill()
    rig.start()
    after = rig.get("/v1/status")
    assert after["policy"] == before["policy"]
    assert (after["ceiling"], after["quarantined"], after["state"]) == ("enforce", 1, "ok")
    assert rig.get("/v1/stages") == stages
    assert rig.installs == [1]
    members = rig.asked("quarantine_add")[-1]["members"]
    assert all(0 < seconds <= 3601 for _, _, seconds in members)


def test_segment_is_the_truth_after_kill_9(rig: ControlRig) -> None:
    """A stage that reached the segment but no file is kept as an override of unrecorded origin."""
    rig.call("PUT", "/v1/stages", {"stage": "enforce", "force": True, "reason": "rehearsal"})
    rig.kill()
    for name in ("stage-overrides.json", "stage-overrides.json.copy"):
        (rig.base / "state" / name).unlink()
    rig.start()
    ceiling = rig.get("/v1/stages")["ceiling"]
    assert (ceiling["stage"], ceiling["overridden"], ceiling["who"]) == ("enforce", True, "unrecorded")


def test_a_damaged_stage_file_lowers_nothing(rig: ControlRig) -> None:
    """Garbage in the overrides' file after a restart of everything: the copy counts, and status says what happened."""
    rig.call("PUT", "/v1/stages", {"stage": "enforce", "force": True, "reason": "rehearsal"})
    rig.kill()
    rig.forget_engine()
    (rig.base / "state" / "stage-overrides.json").write_text("{garbage")
    rig.start()
    assert rig.get("/v1/stages")["ceiling"]["effective"] == "enforce"
    assert "its copy is used" in rig.get("/v1/status")["trouble"]["state_dir"]


def test_a_damaged_journal_does_not_keep_control_down(rig: ControlRig) -> None:
    """A journal that is no database is set aside, a new one begun, and status says so."""
    rig.kill()
    for name in ("journal.sqlite-wal", "journal.sqlite-shm"):
        (rig.base / "state" / name).unlink(missing_ok=True)  # SQLite would repair the file from these
    (rig.base / "state" / "journal.sqlite").write_text("not a database, and long enough to be taken for one" * 100)
    rig.start()
    assert "set aside" in rig.get("/v1/status")["trouble"]["journal_file"]
    assert rig.call("PUT", "/v1/stages", {"stage": "alert"})
    assert list((rig.base / "state").glob("journal.sqlite.broken-*"))


def test_apply_cut_short_by_kill_9_is_finished(rig: ControlRig, water_works: str) -> None:
    """When control died between the engine's yes and its own record, the candidate becomes the record."""
    text = water_works.replace("ceiling: monitor", "ceiling: alert")
    rig.call("POST", "/v1/policy", {"text": text})
    rig.kill()
    state = rig.base / "state"
    (state / "in-force.json").rename(state / "candidate.json")
    (state / "in-force.previous.json").rename(state / "in-force.json")
    rig.start()
    policy = rig.get("/v1/policy")
    assert (policy["generation"], policy["text"]) == (2, text)
    assert json.loads((state / "in-force.json").read_text())["generation"] == 2
    assert not (state / "candidate.json").exists()


def test_restart_of_everything_brings_the_last_known_good(rig: ControlRig, water_works: str) -> None:
    """After a restart of the daemon the last applied policy and its overrides are in force, not the file."""
    text = water_works.replace("ceiling: monitor", "ceiling: alert")
    rig.call("POST", "/v1/policy", {"text": text})
    rig.call(
        "PUT", "/v1/stages", {"stage": "enforce", "conduit": "hmi-polls-plcs", "force": True, "reason": "rehearsal"}
    )
    rig.stop()
    rig.images, rig.generation = None, 0
    rig.policy_file.write_text("version: nonsense")
    rig.start()
    status = rig.get("/v1/status")
    assert (status["policy"]["generation"], status["policy"]["file_differs"]) == (2, True)
    assert rig.ceiling() is Stage.ALERT
    assert status["overrides"] == 1


def test_nobody_gets_the_slot_of_a_removed_conduit(rig: ControlRig, water_works: str) -> None:
    """One conduit after another in the same place of the policy, over a restart: each has its own, and gets it back."""
    names = ("hmi-polls-plcs", "second", "third", "hmi-polls-plcs", "second")
    found = []
    for name in names:
        assert rig.call("POST", "/v1/policy", {"text": water_works.replace("hmi-polls-plcs", name)})[0] == 200
        found.append(json.loads((rig.base / "state" / "in-force.json").read_text())["slots"][name])
        if name == "second":
            rig.stop()
            rig.images, rig.generation = None, 0
            rig.start()
    assert len(set(found[:3])) == 3
    assert found[3:] == found[:2]


def test_a_change_taken_back_leaves_its_slots_known(rig: ControlRig, water_works: str) -> None:
    """The next conduit does not get the slot of one that was in force until its change was taken back."""

    def slots() -> dict[str, int]:
        return dict(json.loads((rig.base / "state" / "in-force.json").read_text())["slots"])

    before = slots()
    body = {"text": water_works.replace("hmi-polls-plcs", "second"), "confirm_within": 60}
    assert rig.call("POST", "/v1/policy", body)[0] == 200
    second = slots()["second"]
    assert rig.call("POST", "/v1/policy/rollback", {"reason": "no"})[0] == 200
    assert slots() == before | {"second": second}
    assert rig.call("POST", "/v1/policy", {"text": water_works.replace("hmi-polls-plcs", "third")})[0] == 200
    assert slots() == before | {"second": second, "third": max(second, *before.values()) + 1}


def test_broken_state_file_falls_back(rig: ControlRig, water_works: str) -> None:
    """A broken record is set aside and the one before it is used."""
    rig.call("POST", "/v1/policy", {"text": water_works.replace("ceiling: monitor", "ceiling: alert")})
    rig.stop()
    rig.images, rig.generation = None, 0
    (rig.base / "state" / "in-force.json").write_text('{"text": "ver')
    rig.start()
    assert rig.get("/v1/status")["ceiling"] == "monitor"
    assert list((rig.base / "state").glob("in-force.json.broken-*"))


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[ControlRig]:
    """A control plane whose policy file is wrong, on its very first start."""
    made = ControlRig(tmp_path, "version: 1\nzones: {a: {kind: nonsense}}\n")
    try:
        made.start()
        yield made
    finally:
        made.stop()


def test_wrong_first_policy_means_closed_and_loud(empty: ControlRig, water_works: str) -> None:
    """With no usable policy the state is `no policy`, nothing is installed, and applying a right one cures it."""
    status = empty.get("/v1/status")
    assert status["state"] == "no policy"
    assert "no policy" in status["trouble"]["policy"]
    assert empty.installs == []
    assert empty.asked("attach") == []
    assert empty.call("GET", "/v1/zones")[1]["code"] == "policy_missing"
    assert empty.call("POST", "/v1/policy", {"text": water_works})[0] == 200
    assert empty.get("/v1/status")["state"] == "ok"


def test_quarantine_by_asset_mac_and_ip(rig: ControlRig) -> None:
    """An asset blocks all its addresses; an address held by two entries stays blocked until both are gone."""
    status, entry = rig.call("POST", "/v1/quarantine", {"target": "office-laptop", "reason": "beaconing"})
    assert status == 200
    assert entry["macs"] == ["02:00:0a:14:0a:42"]
    assert entry["addresses"] == ["10.20.10.66", "fd20::10:66"]
    rig.call("POST", "/v1/quarantine", {"target": "10.20.10.66", "reason": "scan"})
    found = rig.get("/v1/explain?source=office-laptop&destination=plc-1&service=modbus")
    assert (found["verdict"], found["reason"], found["quarantined"]) == ("drop", "GUARD_QUARANTINE", "office-laptop")
    assert rig.call("DELETE", "/v1/quarantine/office-laptop")[0] == 200
    removed = {value for _, value, _ in rig.asked("quarantine_remove")[-1]["members"]}
    assert removed == {"02:00:0a:14:0a:42", "fd20::10:66"}
    assert rig.call("DELETE", "/v1/quarantine/10.20.10.66")[0] == 200
    assert rig.get("/v1/quarantine")["entries"] == []
    assert rig.call("DELETE", "/v1/quarantine/nobody")[1]["code"] == "quarantine_unknown"
    assert rig.call("POST", "/v1/quarantine", {"target": "nobody", "reason": "x"})[1]["code"] == "quarantine_target"


def test_quarantine_expires(rig: ControlRig) -> None:
    """An entry with a duration is released by itself, and the journal says so."""
    rig.call("POST", "/v1/quarantine", {"target": "02-00-0A-14-0A-42", "reason": "short", "seconds": 1})
    wait_for("the release", lambda: not rig.get("/v1/quarantine")["entries"])

    def journalled() -> list[dict[str, Any]]:
        return [entry for entry in rig.get("/v1/journal")["entries"] if entry["action"] == "quarantine.expired"]

    assert wait_for("the journal", journalled)[0]["detail"]["addresses"] == ["02:00:0a:14:0a:42"]


def test_altered_journal_is_noticed(rig: ControlRig) -> None:
    """A changed row breaks the chain at its number."""
    import sqlite3

    rig.call("PUT", "/v1/stages", {"stage": "alert"})
    rig.call("PUT", "/v1/stages", {"stage": "enforce", "force": True, "reason": "rehearsal"})
    assert rig.get("/v1/journal?verify=1")["broken_at"] is None
    book = sqlite3.connect(rig.base / "state" / "journal.sqlite")
    book.execute("DROP TRIGGER journal_no_update")
    book.execute("UPDATE journal SET user = 'somebody' WHERE number = 2")
    book.commit()
    book.close()
    assert rig.get("/v1/journal?verify=1")["broken_at"] == 2


def test_a_first_start_on_a_disk_that_takes_nothing_says_so(tmp_path: Path, water_works: str) -> None:
    """Without a policy and without a place to keep one: closed and loud, and no control that dies again and again."""
    (tmp_path / "state" / "candidate.json" / "in-the-way").mkdir(parents=True)
    rig = ControlRig(tmp_path, water_works)
    try:
        rig.start()
        status = rig.get("/v1/status")
        assert status["state"] == "no policy"
        assert "policy.yaml" in status["trouble"]["policy"]
        assert "candidate.json" in status["trouble"]["policy"]
    finally:
        rig.stop()
