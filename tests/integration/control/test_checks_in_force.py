"""Checks and the daemon: refused, applied with whoever took it on, and back in force after a restart."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.integration.control.plant import ControlRig

STRAIGHT = "  straight: {from: {zone: enterprise}, to: {zone: control}, services: [https], owner: it, reason: test}\n"


def straight(text: str, until: str | None = None) -> str:
    """Return the example with a conduit around the DMZ, and with somebody who takes it on."""
    text = text.replace("\nconduits:\n", f"\nconduits:\n{STRAIGHT}", 1)
    waiver = f"{{code: POL202, at: conduits/straight, who: J. Doe, why: mirror is ordered, until: {until}}}"
    return text + (f"waivers:\n  - {waiver}\n" if until else "")


def test_refused_until_waived(rig: ControlRig, water_works: str) -> None:
    """Without a waiver, or with an expired one, nothing changes; with one that holds the answer names it."""
    before = rig.get("/v1/policy")
    for until in (None, "2026-01-01"):
        status, answer = rig.call("POST", "/v1/policy", {"text": straight(water_works, until)})
        assert status == 422
        assert [(found["code"], found["at"]) for found in answer["problems"]] == [("POL202", "conduits/straight")]
    assert rig.get("/v1/policy") == before
    until = (datetime.now(UTC) + timedelta(days=30)).date().isoformat()
    status, answer = rig.call("POST", "/v1/policy", {"text": straight(water_works, until)})
    assert status == 200, answer
    (waived,) = [found for found in answer["warnings"] if found["waived"]]
    assert (waived["code"], waived["severity"]) == ("POL202", "warning")
    assert waived["waived"] == {"who": "J. Doe", "why": "mirror is ordered", "until": until}


@pytest.mark.parametrize("now", ["ended", "unknown then"])
def test_what_was_in_force_comes_back(rig: ControlRig, water_works: str, now: str) -> None:
    """A restart is no change: neither an expired waiver nor a check that the text never saw keeps it out of force."""
    until = (datetime.now(UTC) + timedelta(days=30)).date().isoformat()
    assert rig.call("POST", "/v1/policy", {"text": straight(water_works, until)})[0] == 200
    policy = rig.get("/v1/policy")
    rig.stop()
    changed = 0
    for path in (rig.base / "state").glob("*.json"):
        record = json.loads(path.read_text())
        if isinstance(record, dict) and until in str(record.get("text", "")):
            text = record["text"]
            record["text"] = text.replace(until, "2026-01-01") if now == "ended" else text.split("waivers:")[0]
            path.write_text(json.dumps(record))
            changed += 1
    assert changed
    rig.start()
    again = rig.get("/v1/policy")
    assert (again["digest"], again["generation"]) == (policy["digest"], policy["generation"])
    assert until not in again["text"]
