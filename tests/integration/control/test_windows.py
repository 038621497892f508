"""Windows in a running control plane: bits at the second, lists, and what a kill -9 over a closing leaves."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from gateway.segments import SegmentKind, attach
from rules import state
from tests.integration.control.plant import ControlRig, wait_for
from tests.integration.control.test_command_line import ctl

if TYPE_CHECKING:
    from tests.integration.control.plant import ControlRig as Rig

ITS_OWN: Final = "    windows: [pump-maintenance]\n"  # of the example, by a weekly clock that a test can't wait for


def policy(text: str, opens: datetime, closes: datetime) -> str:
    """Return the example policy with a window for its first conduit alone, and one that nobody uses."""
    window = (
        "\nwindows:\n"
        f"  visit: {{once: [{{from: {opens:%Y-%m-%dT%H:%M:%S}, to: {closes:%Y-%m-%dT%H:%M:%S}, reason: vendor}}]}}\n"
        "  night: {timezone: Europe/Berlin, weekly: {days: [sat], from: '22:00', to: '06:00'}}\n"
    )
    head, mark, tail = text.replace(ITS_OWN, "").replace("\nwindows:\n", window, 1).partition("\nconduits:\n")
    name, rest = tail.split(":\n", 1)
    return f"{head}{mark}{name}:\n    windows: [visit]\n{rest}"


def soon(seconds: int) -> datetime:
    """Return a whole second some time ahead."""
    return datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=seconds)


def row(rig: Rig) -> dict[str, Any]:
    """Return the conduit that has a window."""
    return next(dict(found) for found in rig.get("/v1/conduits")["conduits"] if found["windows"])


def bits(rig: Rig) -> list[bool]:
    """Return which conduits are open, as the engine sees them."""
    assert rig.images is not None
    view = attach(SegmentKind.STATE, rig.images[1]).view
    return [state.conduit(view, slot).open for slot in range(state.header(view)["conduit_capacity"])]


def entries(rig: Rig, action: str) -> list[dict[str, Any]]:
    """Return the details of journal entries, newest first."""
    return [entry["detail"] for entry in rig.get("/v1/journal?limit=100")["entries"] if entry["action"] == action]


def test_a_window_opens_and_closes_in_the_state_segment(rig: ControlRig, water_works: str) -> None:
    """Closed with the new policy, open and closed within a second of its time, told each time, `static` following."""
    opens, closes = soon(2), soon(4)
    assert rig.call("POST", "/v1/policy", {"text": policy(water_works, opens, closes)})[0] == 200
    before, name = bits(rig), row(rig)["name"]
    assert before.count(False) == 1
    assert row(rig)["next_change"] is not None
    wait_for("the opening", lambda: all(bits(rig)))
    wait_for("the closing", lambda: bits(rig) == before)
    assert datetime.now(UTC) >= closes
    wait_for("the journal", lambda: entries(rig, "window.close"))
    for action, due in (("window.open", opens), ("window.close", closes)):
        (entry,) = entries(rig, action)
        assert (entry["windows"], entry["conduits"]) == (["visit"], [name])
        assert timedelta(0) <= datetime.fromisoformat(entry["at"]) - due < timedelta(seconds=1)
    opened = [asked["opened"] for asked in rig.asked("update_static")[-2:]]
    assert opened == [len(before), len(before) - 1]


def test_a_closing_that_nobody_lived_to_see_is_made_up_at_the_start(rig: ControlRig, water_works: str) -> None:
    """Killed while a window is open and started behind its end: closed before anybody is answered, and told."""
    opens, closes = soon(-60), soon(3)
    assert rig.call("POST", "/v1/policy", {"text": policy(water_works, opens, closes)})[0] == 200
    assert all(bits(rig)), "a policy comes into force with its windows as they are"
    assert row(rig)["open"] is True
    rig.kill()
    assert all(bits(rig))
    wait_for("the end of the window", lambda: datetime.now(UTC) > closes)
    rig.start()
    assert row(rig)["open"] is False
    assert bits(rig).count(False) == 1
    assert [entry["windows"] for entry in entries(rig, "window.close")] == [["visit"]]


def test_openings_to_come_are_listed(rig: ControlRig, water_works: str) -> None:
    """In the window's own zone, from now or from a given time, with the conduits that they open."""
    opens, closes = soon(3600), soon(7200)
    assert rig.call("POST", "/v1/policy", {"text": policy(water_works, opens, closes)})[0] == 200
    found = {window["name"]: window for window in rig.get("/v1/windows")["windows"]}
    assert found["visit"]["conduits"] == [row(rig)["name"]]
    assert found["night"]["conduits"] == []
    (opening,) = found["visit"]["openings"]
    assert (datetime.fromisoformat(opening["opens"]), opening["seconds"]) == (opens, 3600)
    later = rig.get("/v1/windows?at=2027-03-27T00:00:00%2B01:00&days=2")["windows"]
    night = next(window for window in later if window["name"] == "night")
    assert night["openings"] == [
        {"opens": "2027-03-27T22:00:00+01:00", "closes": "2027-03-28T06:00:00+02:00", "seconds": 7 * 3600}
    ]
    for wrong in ("days=0", "days=400", "at=soon", "at=2027-03-27T00:00:00", "at=9999-12-31T00:00:00Z"):
        assert rig.call("GET", f"/v1/windows?{wrong}")[0] == 400, wrong


def test_a_calendar_comes_with_the_policy_and_outlives_a_kill(rig: ControlRig, water_works: str) -> None:
    """Events of an .ics file open the conduit; after a kill -9 the recorded file is read again, the original gone."""
    opens = soon(-60)
    event = f"BEGIN:VEVENT\r\nUID:1\r\nDTSTART:{opens:%Y%m%dT%H%M%SZ}\r\nDURATION:PT1H\r\nEND:VEVENT\r\n"
    files = {"outages.ics": f"BEGIN:VCALENDAR\r\n{event}END:VCALENDAR\r\n"}
    text = policy(water_works, opens, soon(3600))
    begin = text.index("once: [")
    text = text[:begin] + "ics: outages.ics}\n" + text[text.index("\n", begin) + 1 :]
    status, body = rig.call("POST", "/v1/policy", {"text": text, "files": files})
    assert status == 200, body
    assert row(rig)["open"] is True
    rig.kill()
    rig.start()
    assert (row(rig)["open"], entries(rig, "window.close")) == (True, [])
    assert datetime.fromisoformat(row(rig)["next_change"]) == opens + timedelta(hours=1)
    wrong = {"outages.ics": files["outages.ics"].replace("PT1H", "an hour")}
    problems = rig.call("POST", "/v1/policy", {"text": text, "files": wrong})[1]["problems"]
    assert [(problem["path"], problem["line"], problem["code"]) for problem in problems] == [
        ("outages.ics", 5, "POL075")
    ]


def test_conduitctl_windows_shows_them(rig: ControlRig, water_works: str) -> None:
    """One row for each opening with its weekday; a window without any is named; a wrong time is wrong usage."""
    assert rig.call("POST", "/v1/policy", {"text": policy(water_works, soon(3600), soon(7200))})[0] == 200
    shown = ctl("windows", "--at", "2027-03-27T00:00+01:00", "--days", "2", socket=rig.socket)
    assert shown.returncode == 0, shown.stderr
    assert "Sat 2027-03-27 22:00:00 +01:00" in shown.stdout
    assert "Sun 2027-03-28 06:00:00 +02:00" in shown.stdout
    assert "7:00:00" in shown.stdout
    assert "visit: not open before" in shown.stdout
    assert ctl("windows", "--at", "tomorrow", socket=rig.socket).returncode == 2


def test_a_window_that_is_not_understood_changes_nothing(rig: ControlRig, water_works: str) -> None:
    """Refused with its line; what is in force stays."""
    before = rig.get("/v1/status")["policy"]
    text = policy(water_works, soon(1), soon(2)).replace("Europe/Berlin", "Europe/Berlim", 1)
    status, body = rig.call("POST", "/v1/policy", {"text": text})
    assert status == 422
    (problem,) = body["problems"]
    assert (problem["code"], problem["hint"]) == ("POL070", "did you mean 'Europe/Berlin'?")
    assert problem["line"] == text[: text.index("Berlim")].count("\n") + 1
    assert rig.get("/v1/status")["policy"] == before
