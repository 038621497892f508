"""A window of three seconds in front of a real controller, which writes down what reached it and when."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from deploy.lab import plant
from deploy.lab.gateway import DEFAULT_POLICY, LabGateway
from deploy.lab.processes import wait_for
from tests.netns.gateway.conftest import closed_books, set_stage

if TYPE_CHECKING:
    from collections.abc import Callable

    from deploy.lab.actors import Actors
    from deploy.lab.topology import Lab

pytestmark = pytest.mark.netns

STATION, CONTROLLER = "eng-laptop", "plc-1"
PROGRAM = Path(__file__).with_name("writing.py")
LEAD = timedelta(seconds=4)  # from applying the policy to the opening
OPEN_FOR = timedelta(seconds=3)
AFTER_S = 2.0  # the station goes on trying
WITHIN_S = 3.0  # the figures are printed; a machine with other work on it must not fail here
WINDOW = """
windows:
  visit:
    once: [{{from: {opens:%Y-%m-%dT%H:%M:%S}, to: {closes:%Y-%m-%dT%H:%M:%S}, reason: a test}}]
"""
REACHED = """\
    from: {asset: eng-laptop}
    to: {zone: control, role: plc}
    services: [modbus, s7]
"""
READ = """\
    operations: [read, write, diagnose]
    messages: full
"""
ITS_OWN = "    windows: [pump-maintenance]\n"  # of the example, by a weekly clock


def policy(opens: datetime, closes: datetime, *, inspected: bool) -> str:
    """Return the water works' policy in which the engineering laptop reaches controllers during one visit."""
    text = DEFAULT_POLICY.read_text().replace(ITS_OWN, "")
    assert text.count(REACHED + READ) == 1
    text = text.replace(REACHED + READ, REACHED + "    windows: [visit]\n" + (READ if inspected else ""))
    return text.replace("\nwindows:\n", WINDOW.format(opens=opens, closes=closes), 1)


@pytest.mark.parametrize("lane", ["off", "auto"])
def test_a_window_lets_through_what_comes_inside_it_and_cuts_it_at_its_end(
    lab: Lab, actors: Actors, lane: str, record_property: Callable[[str, object], None]
) -> None:
    """The controller takes writes from the opening to the closing and none outside, on one connection that is cut."""
    gateway = LabGateway(lab, lane=lane)
    gateway.start()
    try:
        set_stage(gateway, "enforce")
        opens = datetime.now(UTC).replace(microsecond=0) + LEAD + timedelta(seconds=1)
        closes = opens + OPEN_FOR
        text = policy(opens, closes, inspected=lane == "off")  # what is inspected takes no lane
        assert gateway.api("POST", "/v1/policy", {"text": text})[0] == HTTPStatus.OK
        row = conduit(gateway)
        assert row["windows"] == ["visit"]
        assert (row["open"], datetime.fromisoformat(row["next_change"])) == (False, opens)
        assert datetime.now(UTC) < opens, "this machine needs longer than the lead"

        said = write_past(lab, closes, lambda: in_the_lane(gateway) if lane == "auto" else None)
        times = [entry["time"] for entry in controller(lab)["writes"]]
        late, over = min(times) - opens.timestamp(), max(times) - closes.timestamp()
        record_property("opened_after_ms", round(late * 1000, 1))
        record_property("last_write_ms_to_closing", round(over * 1000, 1))
        print(f"lane {lane}: first {late * 1000:+.1f} ms from opening, last {over * 1000:+.1f} ms from closing, {said}")
        assert 0 <= late < WITHIN_S
        assert -WITHIN_S < over < WITHIN_S
        assert said["connections"] == 1, "it was cut on the connection that it had"
        assert said["answered"] > 20

        assert conduit(gateway)["open"] is False
        closed, opened = told(gateway)
        assert [opened["action"], closed["action"]] == ["window.open", "window.close"]
        for entry, due in ((opened, opens), (closed, closes)):
            stored = (datetime.fromisoformat(entry["detail"]["at"]) - due).total_seconds()
            print(f"lane {lane}: {entry['action']} stored {stored * 1000:+.1f} ms from its second")
            assert 0 <= stored < WITHIN_S
        closed_books(gateway)
    finally:
        gateway.stop()


def write_past(lab: Lab, closes: datetime, while_open: Callable[[], None]) -> dict[str, Any]:
    """Have the station write from now until some time after the closing; return what it says."""
    seconds = (closes - datetime.now(UTC)).total_seconds() + AFTER_S
    host = plant.host(CONTROLLER).ip4
    log = lab.directory / "station.out"
    with log.open("wb") as sink:
        station = lab.start(STATION, [sys.executable, str(PROGRAM), host, str(seconds)], log=sink)
    while_open()
    station.wait(seconds + 10)
    return dict(json.loads(log.read_text().splitlines()[-1]))  # pymodbus talks before


def in_the_lane(gateway: LabGateway) -> None:
    """Wait until frames of the station take the fast lane."""
    wait_for("the station in the lane", lambda: gateway.api("GET", "/v1/counters")[1]["lane"] > 0, 10.0)


def controller(lab: Lab) -> dict[str, Any]:
    """Return the controller's own record."""
    return dict(json.loads((lab.directory / f"{CONTROLLER}.json").read_text()))


def conduit(gateway: LabGateway) -> dict[str, Any]:
    """Return the station's conduit as listed."""
    rows = gateway.api("GET", "/v1/conduits")[1]["conduits"]
    return next(dict(row) for row in rows if row["windows"])


def told(gateway: LabGateway) -> list[dict[str, Any]]:
    """Return the journal's entries of windows, newest first."""
    entries = gateway.api("GET", "/v1/journal?limit=50")[1]["entries"]
    return [entry for entry in entries if entry["action"].startswith("window.")]
