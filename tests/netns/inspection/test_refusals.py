"""What real clients and servers see of a refused message, and what the gateway says of it."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, Final

import pytest

from deploy.lab.processes import wait_for
from tests.evasion.ground import DEVICE, STATION, Ground, ground
from tests.netns.inspection.station import WRITE_REFUSED
from tests.support.capability import require

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.netns, pytest.mark.timeout(240)]

PROMPT_S: Final = 2.0  # far below any time-out of a client, far above what a reset takes
READ_ANSWER: Final = "000100000005010302"


@pytest.fixture(scope="module")
def standing() -> Iterator[Ground]:
    """The lab with a gateway and a pymodbus server; the station has its kernel's TCP."""
    require("netns")
    require("nfqueue")
    with ground(raw=False) as made:
        made.start_servers(["modbus"])
        made.inspects = True
        yield made


def station(standing: Ground, *words: str, module: str = "station") -> dict[str, Any]:
    """Run the station and return what it saw."""
    what, *rest = words
    argv = [sys.executable, "-m", f"tests.netns.inspection.{module}", what, DEVICE.ip4, *rest]
    said: dict[str, Any] = json.loads(standing.lab.run(STATION.name, argv).stdout)
    return said


def connections(standing: Ground, port: int) -> str:
    """Return the server's connections with a client's port."""
    return str(standing.lab.run(DEVICE.name, ["ss", "-Htn", "state", "established", f"dport = :{port}"]).stdout).strip()


def events(standing: Ground) -> list[dict[str, Any]]:
    """Return the newest events."""
    _, body = standing.gateway.api("GET", "/v1/events?limit=200")
    return list(body["events"])


@pytest.mark.parametrize("pauses", [(), (7,), (11,)], ids=["whole", "before the function", "before the last byte"])
def test_reset_ends_both_connections(standing: Ground, pauses: tuple[int, ...]) -> None:
    """The client's socket is reset at once, the server's connection ends, the register is as it was."""
    standing.apply(inspected=True, refuse="reset", reason=f"reset {pauses}")
    before = standing.account()
    said = station(standing, "write", *map(str, pauses))
    assert said["outcome"] == "reset", said
    assert said["took_s"] < PROMPT_S
    wait_for("the server's connection to end", lambda: not connections(standing, said["port"]), PROMPT_S)
    assert standing.states()["modbus"]["changed"] == []
    after = standing.account()
    assert after["refused"] == before["refused"] + 2, "both ends are told"
    assert after["unaccounted"] == 0
    assert refused_event(standing, said["port"])["reason"] == "MESSAGE_OPERATION"


def refused_event(standing: Ground, port: int) -> dict[str, Any]:
    """Return the newest drop of a client's."""
    found: list[dict[str, Any]] = []

    def seen() -> bool:
        found.extend(one for one in events(standing) if one.get("src_port") == port and "message" in one)
        return bool(found)

    wait_for("the event", seen, PROMPT_S)
    return found[0]


def test_answer_is_the_devices_own_refusal(standing: Ground) -> None:
    """The client gets an exception for the function that it asked for, and reads on in the same conversation."""
    standing.apply(inspected=True, refuse="answer", reason="answer")
    before = standing.account()
    said = station(standing, "write")
    assert said["outcome"] == WRITE_REFUSED.hex()
    assert said["took_s"] < PROMPT_S
    assert said["then"].startswith(READ_ANSWER)
    assert standing.states()["modbus"]["changed"] == []
    after = standing.account()
    assert after["rewritten"] == before["rewritten"] + 1
    assert after["refused"] == before["refused"]
    assert after["unaccounted"] == 0


@pytest.mark.parametrize("pause", [8, 11])
def test_answer_falls_back_to_reset_where_the_function_has_passed(standing: Ground, pause: int) -> None:
    """What the device has of the request can't be changed any more."""
    standing.apply(inspected=True, refuse="answer", reason=f"late {pause}")
    said = station(standing, "write", str(pause))
    assert said["outcome"] == "reset", said
    wait_for("the server's connection to end", lambda: not connections(standing, said["port"]), PROMPT_S)
    assert standing.states()["modbus"]["changed"] == []


def test_a_library_understands_the_answer(standing: Ground) -> None:
    """pymodbus sees "illegal function" for each function it asked for, and its readings go on."""
    standing.apply(inspected=True, refuse="answer", reason="library")
    said = station(standing, "pymodbus")
    assert said["answers"] == [
        [0x86, 1, True],
        [0x90, 1, True],
        [0x85, 1, True],
        [3, 0, False],
        [0x96, 1, True],
        [3, 0, False],
    ]
    assert said["same"]
    assert standing.states()["modbus"]["changed"] == []


# ---- EtherNet/IP and CIP ----

NOT_SUPPORTED: Final = "Service not supported"


@pytest.fixture
def controller(standing: Ground) -> Iterator[Ground]:
    """The same lab with a controller that speaks CIP (cm-ethernetip) in the place of the server."""
    yield from replaced(standing, "logix")


@pytest.fixture
def simulator(standing: Ground) -> Iterator[Ground]:
    """The same lab with cpppo's simulator of a controller."""
    yield from replaced(standing, "cip")


def replaced(standing: Ground, server: str) -> Iterator[Ground]:
    """Put another server in the place of pymodbus, for one test."""
    standing.start_servers([server])
    yield standing
    standing.start_servers(["modbus"])


def test_without_inspection_all_of_it_is_carried_out(controller: Ground) -> None:
    """The control of the experiment: what is refused below works."""
    controller.apply(inspected=False, reason="control")
    said = station(controller, "pycomm3", module="cip_station")
    assert said["answers"]["write"] == [[1, None], [2, None]]
    assert [
        error for _, error in (said["answers"][way] for way in ("connected", "unconnected", "routed", "outputs"))
    ] == [None] * 4
    assert controller.states()["logix"] == {"changed": [5, 9], "stopped": [], "reset": [1, 1, 1]}


def test_pycomm3_is_told_by_the_controller(controller: Ground) -> None:
    """Every form of a request that is refused has an error of its own, and what is read by the connection goes on.

    A packet that is refused as a whole is more than pycomm3 expects: it raises, as it does where a controller has none.
    """
    controller.apply(inspected=True, refuse="answer", reason="pycomm3")
    before = controller.account()
    said = station(controller, "pycomm3", module="cip_station")
    assert said["answers"] == {
        "read": [7, None],
        "write": "BufferEmptyError",
        "connected": ["bytes", NOT_SUPPORTED],
        "unconnected": ["bytes", NOT_SUPPORTED],
        "routed": ["bytes", NOT_SUPPORTED],
        "outputs": ["bytes", NOT_SUPPORTED],
        "again": [[7, None], [8, None]],
    }
    assert said["same"]
    assert controller.states()["logix"] == {"changed": [], "stopped": [], "reset": []}
    after = controller.account()
    assert after["rewritten"] == before["rewritten"] + 5, "one for each request"
    assert (after["refused"], after["unaccounted"]) == (before["refused"], 0)


def test_cpppo_is_told_among_its_readings(controller: Ground) -> None:
    """In a pipeline, and for a packet as a whole."""
    controller.apply(inspected=True, refuse="answer", reason="cpppo")
    said = station(controller, "cpppo", module="cip_station")
    assert said["one by one"] == [[0, [7]], [8, None], [0, [8]]]
    assert said["packed"] == "Response EtherNet/IP Multiple Service status: 0x08"
    assert said["again"] == [[0, [7]]]
    assert controller.states()["logix"] == {"changed": [], "stopped": [], "reset": []}


def test_a_device_that_ends_the_session_is_taken_at_its_word(simulator: Ground) -> None:
    """cpppo answers a service that it does not have with an encapsulation of status 8, and closes: so be it."""
    simulator.apply(inspected=True, refuse="answer", reason="simulator")
    said = station(simulator, "bare", module="cip_station")
    assert said["answer"][:4] == "6f00"
    assert said["answer"][16:24] == "08000000"
    assert said["next"] == "end"
    assert simulator.states()["cip"]["changed"] == []
