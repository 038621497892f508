"""The operator of the story: everything is asked and ordered over the control socket, as in a plant.

In: a running gateway. Out: stages, digests, events, counters as plain values; StoryError when an order is refused.
Must never reach around the control socket into the kernel. Called by the scenes.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from deploy.demo.narrator import StoryError
from deploy.lab import processes
from deploy.lab.gateway import engine_state

if TYPE_CHECKING:
    from deploy.lab.gateway import LabGateway

EVENT_WITHIN_S: Final = 5.0
SETTLED_WITHIN_S: Final = 10.0
SAMPLED_WITHIN_S: Final = 15.0  # the policy has one message in so many told


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a refused policy was answered with."""

    status: int
    messages: tuple[str, ...]


class OperatorDesk:
    """One operator with all rights."""

    def __init__(self, gateway: LabGateway) -> None:
        self._gateway = gateway

    def status(self) -> dict[str, Any]:
        """Return the status answer."""
        return dict(self._get("/v1/status"))

    def engine_state(self) -> str:
        """Return whether the engine judges, starts or is dead."""
        return engine_state(self.status())

    def ceiling(self) -> str:
        """Return the site's stage ceiling."""
        return str(self._get("/v1/stages")["ceiling"]["stage"])

    def set_ceiling(self, stage: str) -> None:
        """Set the site's stage ceiling."""
        self._order("PUT", "/v1/stages", {"stage": stage, "force": True, "reason": "demonstration"})

    def digest(self) -> str:
        """Return the digest of the policy in force."""
        return str(self.status()["policy"]["digest"])

    def apply(self, text: str) -> str:
        """Apply a policy and return the digest then in force. Raises StoryError when it is refused."""
        self._order("POST", "/v1/policy", {"text": text, "name": "water-works.yaml", "reason": "demonstration"})
        return self.digest()

    def apply_refused(self, text: str) -> Refusal:
        """Try to apply a policy that must be refused. Raises StoryError when it is taken."""
        status, body = self._gateway.api("POST", "/v1/policy", {"text": text, "name": "wrong.yaml"})
        if status < HTTPStatus.BAD_REQUEST:
            raise StoryError(f"a wrong policy was taken: {status} {body}")
        return Refusal(status, tuple(_lines(body)))

    def quarantine(self, asset: str, reason: str) -> None:
        """Quarantine an asset."""
        self._order("POST", "/v1/quarantine", {"target": asset, "reason": reason})

    def release(self, asset: str) -> None:
        """Release an asset from quarantine."""
        self._order("DELETE", f"/v1/quarantine/{asset}", None)

    def counters(self) -> dict[str, Any]:
        """Return the counters."""
        return dict(self._get("/v1/counters"))

    @staticmethod
    def now() -> str:
        """Return this moment as the events write it, so that texts compare like times."""
        return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f+0000")

    def event_since(self, moment: str, what: str, **facts: str) -> dict[str, Any]:
        """Wait for an event after a moment that has all the facts. Raises LabError when none comes."""

        def look() -> dict[str, Any] | None:
            for event in self._events():
                if event["timestamp"] >= moment and all(event.get(key) == value for key, value in facts.items()):
                    return event
            return None

        return processes.wait_for(f"an event: {what}", look, EVENT_WITHIN_S)

    def message_since(self, moment: str, conduit: str, port: int) -> dict[str, Any]:
        """Wait for a message event of a conversation, known by its opener's port. Raises LabError when none comes."""

        def look() -> dict[str, Any] | None:
            for event in self._events():
                of_it = (event["event_type"], event.get("conduit")) == ("message", conduit)
                if of_it and event["timestamp"] >= moment and port in (event["src_port"], event["dest_port"]):
                    return event
            return None

        return processes.wait_for(f"a message of port {port} by {conduit}", look, SAMPLED_WITHIN_S)

    def open_flow(self, opener: str, responder: str) -> int:
        """Return the opener's port of the one conversation that is open between two assets."""
        flows = self._get(f"/v1/flows?asset={opener}&limit=1000")["flows"]
        ports = {
            int(flow["opener_port"])
            for flow in flows
            if (flow["opener_asset"], flow["responder_asset"], flow["closed"]) == (opener, responder, False)
        }
        if len(ports) != 1:
            raise StoryError(f"{opener} has {len(ports)} conversations open with {responder}, not one")
        return ports.pop()

    def settle(self) -> None:
        """Wait until two readings of the counters in a row are equal: the plant is quiet."""
        before: dict[str, Any] = {}

        def look() -> dict[str, Any] | None:
            nonlocal before
            now = self.counters()
            before, same = now, now == before
            return now if same else None

        processes.wait_for("two equal counter readings", look, SETTLED_WITHIN_S)

    def _events(self) -> list[dict[str, Any]]:
        return list(self._get("/v1/events?limit=4096")["events"])

    def _get(self, path: str) -> Any:
        status, body = self._gateway.api("GET", path)
        if status != HTTPStatus.OK:
            raise StoryError(f"GET {path}: {status} {body}")
        return body

    def _order(self, method: str, path: str, body: Any) -> Any:
        status, answer = self._gateway.api(method, path, body)
        if status >= HTTPStatus.BAD_REQUEST:
            raise StoryError(f"{method} {path}: {status} {answer}")
        return answer


def _lines(body: Any) -> list[str]:
    problems = body.get("problems", []) if isinstance(body, dict) else []
    return [f"{p['path']}:{p['line']}:{p['column']}: {p['message']}" for p in problems] or [str(body)]
