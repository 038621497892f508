"""The kernel takes seconds to load a large policy: nobody but another policy waits for that."""

from __future__ import annotations

import contextlib
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rules.state import Stage
from tests.integration.control.plant import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.integration.control.plant import ControlRig


class Asked:
    """A request that is still waiting for its answer, or has it."""

    def __init__(self, ask: Callable[[], tuple[int, Any]]) -> None:
        self.answer: tuple[int, Any] | None = None
        self._ask = ask
        self._thread = threading.Thread(target=self._wait, daemon=True)
        self._thread.start()

    def _wait(self) -> None:
        with contextlib.suppress(OSError):  # control was killed: there is no answer
            self.answer = self._ask()

    def answered(self) -> tuple[int, Any]:
        """Wait for the answer."""
        found: tuple[int, Any] = wait_for("an answer", lambda: self.answer)
        return found


@contextmanager
def loading(rig: ControlRig, text: str, **terms: Any) -> Iterator[Asked]:
    """Apply a text; the block runs while the kernel is filling the bank, which ends with it."""
    before = len(rig.asked("prepare_static"))
    slow = rig.kernel / "slow_static"
    slow.touch()
    try:
        applying = Asked(lambda: rig.call("POST", "/v1/policy", {"text": text, "name": "other.yaml", **terms}))
        wait_for("the load", lambda: len(rig.asked("prepare_static")) > before)
        yield applying
        assert applying.answer is None, "applied is what the kernel has"
    finally:
        slow.unlink()


def other_than(text: str) -> str:
    """The same policy with another ceiling."""
    return text.replace("ceiling: monitor", "ceiling: alert")


def test_stages_and_quarantine_go_through(rig: ControlRig, water_works: str) -> None:
    """They are in force at once, and `static` has the stage when the load is over."""
    with loading(rig, other_than(water_works)) as applying:
        assert rig.get("/v1/status")["policy"]["generation"] == 2, "the engine judges by it"
        status, body = rig.call("PUT", "/v1/stages", {"stage": "monitor", "reason": "calm"})
        assert (status, body["previous"], body["effective"]) == (200, "alert", "monitor")
        assert rig.ceiling() is Stage.MONITOR
        assert rig.call("POST", "/v1/quarantine", {"target": "office-laptop", "reason": "beaconing"})[0] == 200
        assert rig.asked("update_static") == [], "the bank in use is the old policy's"
        found = {finding["topic"]: finding for finding in rig.get("/v1/doctor")["findings"]}
        assert found["static"]["level"] == "warning"
        applied = len(rig.asked("apply_static"))
    status, body = applying.answered()
    assert (status, body["generation"], body["overrides_dropped"]) == (200, 2, [])
    (static,) = rig.asked("apply_static")[applied:]
    assert (static["digest"], static["ceiling"]) == (body["digest"], "MONITOR")
    ceiling = rig.get("/v1/stages")["ceiling"]
    assert (ceiling["stage"], ceiling["overridden"]) == ("monitor", True)
    rig.kill()
    rig.start()
    assert rig.get("/v1/stages")["ceiling"] == ceiling
    assert rig.get("/v1/status")["policy"]["generation"] == 2


def test_no_policy_overtakes_another(rig: ControlRig, water_works: str) -> None:
    """A second policy waits for the first one's load: what was asked last is in force, in engine and kernel."""
    third = water_works + "\n# the third\n"
    with loading(rig, other_than(water_works)):
        last = Asked(lambda: rig.call("POST", "/v1/policy", {"text": third, "name": "other.yaml"}))
        back = Asked(lambda: rig.call("POST", "/v1/policy/rollback", {"reason": "no"}))
        assert rig.call("PUT", "/v1/stages", {"stage": "alert", "pair": ["unknown", "control"]})[0] == 200
        assert last.answer is None
        assert back.answer is None
        assert rig.installs == [1, 2]
    assert last.answered()[0] == 200
    assert back.answered()[1]["code"] == "nothing_pending"
    assert rig.installs == [1, 2, 3]
    assert rig.asked("apply_static")[-1]["digest"] == rig.get("/v1/status")["policy"]["digest"]
    assert rig.get("/v1/policy")["text"] == third


def test_a_load_that_fails_keeps_what_was_set_meanwhile(rig: ControlRig, water_works: str) -> None:
    """The old policy is in force again, with the stage that an operator set for good while the new one was loaded."""
    rig.call("PUT", "/v1/stages", {"stage": "alert", "conduit": "hmi-polls-plcs"})
    before = rig.get("/v1/status")["policy"]
    with loading(rig, other_than(water_works), confirm_within=600) as applying:
        reset = {"stage": None, "conduit": "hmi-polls-plcs", "force": True, "reason": "rehearsal"}
        assert rig.call("PUT", "/v1/stages", reset)[0] == 200
        assert rig.call("PUT", "/v1/stages", {"stage": "alert", "pair": ["unknown", "control"]})[0] == 200
        rig.refuse_in_kernel("apply_static")
    assert applying.answered()[0] == 503
    rig.refuse_in_kernel()
    status = rig.get("/v1/status")
    assert (status["policy"], status["pending"]) == (before, None)
    assert rig.installs == [1, 2, 1]
    assert rig.ceiling() is Stage.MONITOR
    stages = rig.get("/v1/stages")
    assert [state["object"] for state in stages["pairs"] if state["overridden"]] == ["pair:(unknown):control"]
    assert [state["object"] for state in stages["conduits"] if state["overridden"]] == []
    rig.kill()
    rig.start()
    assert rig.get("/v1/stages") == stages


def test_a_stage_set_meanwhile_outlives_going_back(rig: ControlRig, water_works: str) -> None:
    """A change that waits to be confirmed takes back itself, not what an operator set while it was loaded."""
    with loading(rig, other_than(water_works), confirm_within=600) as applying:
        assert rig.call("PUT", "/v1/stages", {"stage": "alert", "pair": ["unknown", "control"]})[0] == 200
        terms = {"stage": "alert", "conduit": "hmi-polls-plcs", "confirm_within": 600}
        waiting = Asked(lambda: rig.call("PUT", "/v1/stages", terms))
        confirming = Asked(lambda: rig.call("POST", "/v1/policy/confirm", {"digest": "0123456789ab"}))
    assert applying.answered()[1]["pending"]["seconds_left"] > 500
    assert waiting.answered()[1]["code"] == "change_pending", "one change at a time"
    assert confirming.answered()[1]["code"] == "digest_differs"
    assert rig.call("POST", "/v1/policy/rollback", {"reason": "no"})[0] == 200
    assert rig.get("/v1/policy")["text"] == water_works
    stages = rig.get("/v1/stages")["pairs"]
    assert [state["object"] for state in stages if state["overridden"]] == ["pair:(unknown):control"]


def test_a_power_cut_while_the_kernel_loads_takes_no_stage_back(rig: ControlRig, water_works: str) -> None:
    """The old policy comes back, with the stages that it had and those that an operator set during the load."""
    assert rig.call("PUT", "/v1/stages", {"stage": "alert", "conduit": "hmi-polls-plcs"})[0] == 200
    with loading(rig, other_than(water_works)):
        assert rig.call("PUT", "/v1/stages", {"stage": "alert", "pair": ["unknown", "control"]})[0] == 200
        assert rig.call("PUT", "/v1/stages", {"stage": "monitor", "pair": ["enterprise", "control"]})[0] == 200
        rig.kill()
    rig.forget_engine()
    rig.start()
    assert rig.get("/v1/policy")["text"] == water_works
    found = {one["object"]: one["stage"] for kind in ("pairs", "conduits") for one in rig.get("/v1/stages")[kind]}
    assert found["conduit:hmi-polls-plcs"] == "alert"
    assert found["pair:(unknown):control"] == "alert"
    assert found["pair:enterprise:control"] == "monitor"


def test_control_alone_killed_while_the_kernel_loads_goes_on_with_the_new_policy(
    rig: ControlRig, water_works: str
) -> None:
    """The engine judges by it already: the next control finds its text and the stages set during the load."""
    text = other_than(water_works)
    with loading(rig, text):
        assert rig.call("PUT", "/v1/stages", {"stage": "monitor", "pair": ["enterprise", "control"]})[0] == 200
        rig.kill()
    rig.start()
    assert rig.get("/v1/policy")["text"] == text
    found = {one["object"]: one["stage"] for one in rig.get("/v1/stages")["pairs"]}
    assert found["pair:enterprise:control"] == "monitor"


def test_quarantine_during_a_load_holds_under_both_policies(rig: ControlRig, water_works: str) -> None:
    """An asset that has another address in the policy being loaded is blocked by both: either may be in force next."""
    moved = other_than(water_works).replace("10.20.10.66", "10.20.10.67")
    assert moved != other_than(water_works)
    with loading(rig, moved) as applying:
        assert rig.call("POST", "/v1/quarantine", {"target": "office-laptop", "reason": "beaconing"})[0] == 200
        rig.refuse_in_kernel("apply_static")
    assert applying.answered()[0] == 503
    rig.refuse_in_kernel()
    blocked = {value for _, value, _ in rig.asked("quarantine_add")[-1]["members"]}
    assert {"10.20.10.66", "10.20.10.67"} <= blocked
