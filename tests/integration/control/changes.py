"""What the tests of provisional changes do and look at: apply, what is in force, the journal, another boot."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from tests.integration.control.plant import wait_for

if TYPE_CHECKING:
    from tests.integration.control.plant import ControlRig

BACK_WITHIN_S: Final = 1.0  # of the deadline
BUSY_S: Final = 5.0  # what a shared machine may add; the drill measures, these tests only wait


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
