"""What every scene needs: the lab at work, the attacker's next move, the engineer's, and the HMI's honest count.

In: a standing lab with a running gateway. Out: statements that one line of a scene asserts.
Must never take the attacker's word: the controller's registers decide. Called by the scenes.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from deploy.lab import plant as facts
from deploy.lab import processes
from deploy.lab.plant import ATTACKER

if TYPE_CHECKING:
    from deploy.demo.narrator import Narrator
    from deploy.demo.operator_desk import OperatorDesk
    from deploy.lab.actors import Actors, Running
    from deploy.lab.gateway import LabGateway

TARGET: Final = "plc-1"
POLLS: Final = (("hmi-1", "plc-1"), ("hmi-2", "plc-2"))
FIRST_VALUE: Final = 6001
OPERATING: Final = "hmi-polls-plcs"  # the inspected conduit by which the stations poll
MORE_POLLS: Final = 3
POLLS_WITHIN_S: Final = 5.0


class Plant:
    """The water works of one demonstration."""

    def __init__(self, narrator: Narrator, actors: Actors, gateway: LabGateway, desk: OperatorDesk) -> None:
        self.narrator = narrator
        self.actors = actors
        self.gateway = gateway
        self.desk = desk
        self.pollers: dict[str, Running] = {}
        self.attacks: list[tuple[str, int, bool]] = []
        self._value = FIRST_VALUE

    @staticmethod
    def address(host: str) -> str:
        """Return a host's IPv4 address."""
        return facts.host(host).ip4

    def next_value(self) -> int:
        """Return a value that nobody has written yet."""
        self._value += 1
        return self._value - 1

    def attack(self, *, reaches: bool, note: str = "") -> int:
        """Let the attacker write a new value; assert by the register whether it arrived. Returns the value."""
        value = self.next_value()
        before = self.actors.register(TARGET)
        answered = self.actors.write(ATTACKER, TARGET, value)
        register = self.actors.register(TARGET)
        arrived = any(value in write["values"] for write in self.actors.writes(TARGET))
        told = f"register {before} → {register}, attacker {'got an answer' if answered else 'got no answer'}"
        self.attacks.append((note or self.narrator.current_scene, value, arrived))
        if reaches:
            self.narrator.check(
                f"the attacker's write of {value} reaches {TARGET}", arrived and register == value, told
            )
        else:
            self.narrator.check(
                f"the attacker's write of {value} does not reach {TARGET}",
                not arrived and not answered and register == before,
                told,
            )
        return value

    def permitted_write(self, host: str, value: int) -> None:
        """Write as somebody who may, and assert by the register that it arrived."""
        answered = self.actors.write(host, TARGET, value)
        register = self.actors.register(TARGET)
        self.narrator.check(f"{host} may write {value}", answered and register == value, f"register {register}")

    def hmi_is_well(self) -> None:
        """Assert that the HMI goes on polling and has missed nothing since the beginning."""
        poller = self.pollers["hmi-1"]
        reached = poller.said()["answered"] + MORE_POLLS
        processes.wait_for("the HMI's next polls", lambda: poller.said()["answered"] >= reached, POLLS_WITHIN_S)
        said = poller.said()
        self.narrator.check(
            "the HMI has missed nothing",
            said["missed"] == 0 and said["sent"] - said["answered"] <= 1,
            f"{said['answered']} polls answered, {said['missed']} missed, longest {said['longest_ms']:.0f} ms",
        )

    def poll_port(self) -> int:
        """Return the port that the HMI's one polling connection comes from."""
        return self.desk.open_flow("hmi-1", TARGET)

    def poll_is_read(self, port: int, moment: str) -> None:
        """Assert that since a moment a message of that connection was read: it is inspected, not only carried."""
        event = self.desk.message_since(moment, OPERATING, port)
        asked = event["message"]
        self.narrator.check(
            "the HMI's poll is read message by message again, on the connection that it had",
            event["verdict"] == "accept" and asked["operation"] == "read",
            f"port {port}: {event['app_proto']} {asked['operation']}{', answered' if asked['answer'] else ''}",
        )

    def start_polling(self) -> None:
        """Let both operator stations poll their controllers."""
        for station, controller in POLLS:
            self.pollers[station] = self.actors.start_poller(station, controller)

    def end_polling(self, statement: str) -> dict[str, Any]:
        """End all stations' polling and assert of the HMI that it missed nothing. Returns what each of them counted."""
        ended = {name: poller.end() for name, poller in self.pollers.items()}
        hmi = ended["hmi-1"]
        self.narrator.check(
            statement,
            hmi["missed"] == 0 and hmi["sent"] == hmi["answered"] and hmi["connections"] == 1,
            f"{hmi['answered']} of {hmi['sent']} answered, {hmi['connections']} connection, {hmi['late']} beats "
            f"late, longest {hmi['longest_ms']:.0f} ms",
        )
        return ended

    def misses(self, poller: str) -> int:
        """Return how many polls a station has missed so far."""
        return int(self.pollers[poller].said()["missed"])

    def answered_since(self, poller: str, moment: float) -> bool:
        """Return whether a station has had a right answer after a moment (time.time())."""
        return float(self.pollers[poller].said()["last_answer"]) > moment

    @staticmethod
    def now() -> float:
        """Return the wall clock that the pollers' files use."""
        return time.time()
