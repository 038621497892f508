"""Modbus by a real client and a real server: everything they say to each other is taken, as what it is."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import pytest
from pymodbus import FramerType, ModbusException
from pymodbus.client import ModbusTcpClient
from pymodbus.pdu.file_message import FileRecord
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from fastpath.abi import Inspector, Operation, Reason
from fastpath.dissect import Dissection
from tests.support.listening import Listening, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

READ, WRITE, DIAGNOSE = Operation.READ, Operation.WRITE, Operation.DIAGNOSE
CONTROL, ADMIN = Operation.CONTROL, Operation.ADMIN
WITHIN_S: Final = 10
RECORD: Final = FileRecord(file_number=4, record_number=1, record_data=b"\0\1\0\2")
CALLS: Final[list[tuple[str, dict[str, Any], set[Operation]]]] = [
    ("read_coils", {"address": 3, "count": 20}, {READ}),
    ("read_discrete_inputs", {"address": 3, "count": 9}, {READ}),
    ("read_holding_registers", {"address": 3, "count": 20}, {READ}),
    ("read_input_registers", {"address": 3, "count": 1}, {READ}),
    ("write_coil", {"address": 3, "value": True}, {WRITE}),
    ("write_coils", {"address": 3, "values": [True, False, True]}, {WRITE}),
    ("write_register", {"address": 3, "value": 513}, {WRITE}),
    ("write_registers", {"address": 3, "values": [1, 2, 3]}, {WRITE}),
    ("mask_write_register", {"address": 3, "and_mask": 0xFF, "or_mask": 0x100}, {WRITE}),
    ("readwrite_registers", {"read_address": 1, "read_count": 2, "write_address": 3, "values": [7]}, {READ, WRITE}),
    ("read_exception_status", {}, {DIAGNOSE}),
    ("report_device_id", {}, {DIAGNOSE}),
    ("read_device_information", {"read_code": 1}, {DIAGNOSE}),
    ("diag_query_data", {"msg": b"\1\2"}, {DIAGNOSE}),
    ("diag_read_diagnostic_register", {}, {DIAGNOSE}),
    ("diag_read_bus_message_count", {}, {DIAGNOSE}),
    ("diag_get_comm_event_counter", {}, {DIAGNOSE}),
    ("diag_get_comm_event_log", {}, {DIAGNOSE}),
    ("diag_clear_counters", {}, {ADMIN}),
    ("diag_restart_communication", {"toggle": True}, {CONTROL}),
    ("read_file_record", {"records": [FileRecord(file_number=4, record_number=1, record_length=2)]}, {READ}),
    ("write_file_record", {"records": [RECORD]}, {WRITE}),
    ("read_fifo_queue", {"address": 3}, {READ}),
    ("read_holding_registers", {"address": 60000, "count": 1}, {READ}),  # it answers with an exception
]


@contextmanager
def serving(framer: FramerType) -> Iterator[int]:
    """Run a server with a hundred registers on the loopback; yield its port."""
    port, loop = free_port(), asyncio.new_event_loop()
    started = threading.Event()
    servers: list[ModbusTcpServer] = []

    async def begin() -> None:
        memory = SimData(0, values=[0] * 100, datatype=DataType.REGISTERS)
        servers.append(ModbusTcpServer(SimDevice(id=1, simdata=memory), framer=framer, address=("127.0.0.1", port)))
        await servers[0].serve_forever(background=True)
        started.set()

    def run() -> None:
        loop.run_until_complete(begin())
        loop.run_forever()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert started.wait(WITHIN_S)
    try:
        yield port
    finally:
        asyncio.run_coroutine_threadsafe(servers[0].shutdown(), loop).result(WITHIN_S)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(WITHIN_S)
        loop.close()


@pytest.mark.parametrize(
    ("framer", "inspector"),
    [(FramerType.SOCKET, Inspector.MODBUS), (FramerType.RTU, Inspector.MODBUS_RTU)],
    ids=["modbus", "modbus-rtu"],
)
def test_every_call_of_a_real_client_is_what_it_is(framer: FramerType, inspector: Inspector) -> None:
    """Each call is one whole request with its operation and one answer to it, and nothing is refused."""
    dissection = Dissection(inspector)
    with serving(framer) as port, Listening(port) as listening:
        client = ModbusTcpClient("127.0.0.1", port=listening.port, framer=framer, timeout=2, retries=0)
        assert client.connect()
        for name, arguments, operations in CALLS:
            before = len(listening.heard)
            try:
                getattr(client, name)(**arguments)
            except ModbusException:  # the server's stack knows no answer, or the client cannot read it: heard it is
                client.close()
            said = heard(listening, before)
            requests, answers = whole(dissection, said, from_opener=True), whole(dissection, said, from_opener=False)
            assert [reason for _, _, reason, _ in (*requests, *answers) if reason is not Reason.NONE] == [], name
            assert {access["operation"] for _, _, _, found in requests for access in found} == operations, name
            assert len(requests) == len(answers) == 1, name
            assert answers[0][3][0]["operation"] in operations, name
        client.close()


def whole(dissection: Dissection, said: list[tuple[bool, bytes]], *, from_opener: bool) -> list[Any]:
    """Return the messages of one direction, which must be whole."""
    found, left = dissection.messages(b"".join(data for client, data in said if client is from_opener), from_opener)
    assert left == b""
    return found


def heard(listening: Listening, before: int) -> list[tuple[bool, bytes]]:
    """Return what was said since, when both have said something."""
    end = time.monotonic() + WITHIN_S
    while {client for client, _ in listening.heard[before:]} != {True, False} and time.monotonic() < end:
        time.sleep(0.005)
    return listening.heard[before:]
