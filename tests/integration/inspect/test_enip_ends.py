"""Real EtherNet/IP ends (cpppo as server and client, pycomm3 as client) over a proxy that records what they say.

All of it must be read without a refusal, as what was asked for: ends that other people wrote are the judges here.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from fastpath.abi import Inspector, Operation, Protocol, Reason
from fastpath.dissect import Dissection
from rules.protocols.cip import tag_number

if TYPE_CHECKING:
    from collections.abc import Iterator

SERVER = "import sys; from cpppo.server.enip.main import main; sys.exit(main(sys.argv[1:]))"
START_SECONDS = 20.0
TAGS = ("SCADA=INT[1000]", "Level=REAL[4]", "Count=DINT[2]")


def free_port() -> int:
    """Return a port of the loopback that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


class Recorder:
    """A proxy in front of the server: it notes each piece before it passes it on."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        self.talks: list[list[tuple[bool, bytes]]] = []
        self.threads: list[threading.Thread] = []
        self.sockets = [self.listener]
        self._start(self._accept)

    def _start(self, run: Any, *arguments: Any) -> None:
        thread = threading.Thread(target=run, args=arguments, daemon=True)
        self.threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                self.sockets.append(client)
                server = socket.create_connection(("127.0.0.1", self.target))
                self.sockets.append(server)
                talk: list[tuple[bool, bytes]] = []
                self.talks.append(talk)
                self._start(self._pass_on, client, server, talk, True)
                self._start(self._pass_on, server, client, talk, False)

    @staticmethod
    def _pass_on(source: socket.socket, sink: socket.socket, talk: list[tuple[bool, bytes]], from_opener: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                talk.append((from_opener, data))
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """End the proxy, and leave nothing open."""
        for one in self.sockets:
            with contextlib.suppress(OSError):  # its other end may have gone
                one.shutdown(socket.SHUT_RDWR)
        for thread in self.threads:
            thread.join(START_SECONDS)
        for one in self.sockets:
            one.close()

    def accesses(self) -> list[dict[str, Any]]:
        """Return what every conversation asked and answered; nothing in it may be refused."""
        found: list[dict[str, Any]] = []
        for talk in self.talks:
            dissection, rest = Dissection(Inspector.ENIP), {True: b"", False: b""}
            for from_opener, data in list(talk):
                messages, rest[from_opener] = dissection.messages(rest[from_opener] + data, from_opener)
                for _, _, reason, accesses in messages:
                    assert reason is Reason.NONE, (
                        reason,
                        from_opener,
                        [(opener, piece[:80].hex()) for opener, piece in talk],
                    )
                    found += accesses
            assert rest == {True: b"", False: b""}
        return found


@pytest.fixture(scope="module")
def server() -> Iterator[int]:
    """Give the port of a cpppo server with some tags."""
    pytest.importorskip("cpppo")
    port = free_port()
    process = subprocess.Popen([sys.executable, "-c", SERVER, "-a", f"127.0.0.1:{port}", *TAGS])
    try:
        deadline = time.monotonic() + START_SECONDS
        while True:
            assert process.poll() is None, "the server ended"
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            assert time.monotonic() < deadline, "the server does not answer"
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture
def recorder(server: int) -> Iterator[Recorder]:
    """Give a recording proxy in front of the server."""
    proxy = Recorder(server)
    yield proxy
    proxy.close()


def asked(found: list[dict[str, Any]], operation: Operation) -> list[dict[str, Any]]:
    """Return the fields of what was asked with an operation."""
    wanted = [one for one in found if one["protocol"] is Protocol.CIP and not one["answer"]]
    return [one["fields"] for one in wanted if one["operation"] is operation]


@pytest.mark.parametrize("multiple", [0, 500], ids=["one by one", "in packets"])
@pytest.mark.timeout(90)
def test_cpppo_reads_and_writes_tags(recorder: Recorder, multiple: int) -> None:
    """Its tag operations are told by name, elements and values, alone and in a Multiple Service Packet."""
    client = pytest.importorskip("cpppo.server.enip.client")
    wanted = ["SCADA[0-9]", "SCADA[3-4]=(INT)7,9", "Level[1]=(REAL)1.5", "Count", "SCADA[100]"] * 10
    with client.connector(host="127.0.0.1", port=recorder.port, timeout=10) as connection:
        replies = list(
            connection.pipeline(operations=client.parse_operations(wanted), depth=4, multiple=multiple, timeout=10)
        )
    assert len(replies) == len(wanted)
    assert all(value is not None for *_, value in replies)
    found = recorder.accesses()
    reads, writes = asked(found, Operation.READ), asked(found, Operation.WRITE)
    assert len(reads) == 30
    assert {(one["tag"], one["offset"]) for one in reads} == {
        (tag_number("SCADA"), (0, 9)), (tag_number("Count"), 0), (tag_number("SCADA"), 100),
    }  # fmt: skip
    assert {(one["tag"], one["offset"], one["value"], one["type"]) for one in writes} == {
        (tag_number("scada"), (3, 4), (7, 9), 0xC3), (tag_number("level"), 1, (1, 2), 0xCA),
    }  # fmt: skip
    assert len(writes) == 20
    assert max(one["depth"] for one in found) == (2 if multiple else 1)


@pytest.mark.timeout(90)
def test_pycomm3_asks_routed_unconnected_and_connected(recorder: Recorder) -> None:
    """Attributes are read outside and inside a connection that a Forward Open opened, and the connection is closed."""
    pycomm3 = pytest.importorskip("pycomm3")
    driver = pycomm3.LogixDriver(f"127.0.0.1:{recorder.port}/0", init_tags=False, init_program_tags=False)
    driver._cfg["port"] = recorder.port
    driver.open()
    for connected, routed in ((False, False), (False, True), (True, False)):
        for _ in range(10):
            driver.generic_message(
                service=b"\x01", class_code=b"\x01", instance=b"\x01", connected=connected, unconnected_send=routed
            )
    driver.close()
    found = recorder.accesses()
    reads = [one for one in asked(found, Operation.READ) if one["class"] == 1]
    assert len([one for one in reads if "connection" in one]) >= 10
    assert len([one for one in reads if "connection" not in one]) >= 20
    services = [one["fields"]["service"] for one in found if one["protocol"] is Protocol.CIP and not one["answer"]]
    assert {0x52, 0x4E} <= set(services)
    assert set(services) & {0x54, 0x5B}
    answers = [one for one in found if one["answer"] and one["operation"] is Operation.READ]
    assert len(answers) >= 30
