"""A real S7 client and server, heard on the loopback: every operation lands where the table says."""

from __future__ import annotations

import logging
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import pytest

from fastpath.abi import Inspector, Operation, Reason
from fastpath.dissect import Dissection
from tests.support.listening import Listening, free_port

snap7 = pytest.importorskip("snap7", reason="python-snap7 is not installed: no real S7 client here")

if TYPE_CHECKING:
    from collections.abc import Iterator

from snap7.client import Client  # noqa: E402 - behind the check that it is there
from snap7.server import Server  # noqa: E402
from snap7.type import Area, Block, SrvArea, WordLen  # noqa: E402

QUIET_SECONDS: Final = 0.03
PATIENCE_SECONDS: Final = 5.0
AREAS: Final = ((SrvArea.DB, 1), (SrvArea.MK, 0), (SrvArea.PE, 0), (SrvArea.PA, 0), (SrvArea.TM, 0), (SrvArea.CT, 0))

CALLS: Final[tuple[tuple[str, tuple[Any, ...], set[Operation]], ...]] = (
    ("db_read", (1, 0, 4), {Operation.READ}),
    ("db_write", (1, 10, bytearray(b"\1\2")), {Operation.WRITE}),
    ("db_get", (1,), {Operation.DIAGNOSE, Operation.READ}),
    ("db_fill", (1, 0), {Operation.DIAGNOSE, Operation.WRITE}),
    ("read_area", (Area.MK, 0, 0, 5), {Operation.READ}),
    ("write_area", (Area.PA, 0, 0, bytearray(b"abc")), {Operation.WRITE}),
    ("read_area", (Area.DB, 1, 9, 1, WordLen.Bit), {Operation.READ}),
    ("write_area", (Area.DB, 1, 9, bytearray(b"\1"), WordLen.Bit), {Operation.WRITE}),
    (
        "read_multi_vars",
        ([{"area": Area.DB, "db_number": 1, "start": start, "size": 3} for start in (0, 100)],),
        {Operation.READ},
    ),
    (
        "write_multi_vars",
        ([{"area": Area.MK, "db_number": 0, "start": 5, "data": bytearray(b"x")}],),
        {Operation.WRITE},
    ),
    ("ab_read", (0, 2), {Operation.READ}),
    ("ab_write", (0, bytearray(2)), {Operation.WRITE}),
    ("eb_read", (0, 2), {Operation.READ}),
    ("eb_write", (0, 2, bytearray(2)), {Operation.WRITE}),
    ("mb_read", (0, 2), {Operation.READ}),
    ("mb_write", (0, 2, bytearray(2)), {Operation.WRITE}),
    ("tm_read", (0, 2), {Operation.READ}),
    ("tm_write", (0, 2, bytearray(4)), {Operation.WRITE}),
    ("ct_read", (0, 2), {Operation.READ}),
    ("ct_write", (0, 2, bytearray(4)), {Operation.WRITE}),
    ("db_read_bool", (1, 0, 1), {Operation.READ}),
    ("db_write_bool", (1, 0, 1, True), {Operation.READ, Operation.WRITE}),
    ("db_write_real", (1, 4, 1.5), {Operation.WRITE}),
    ("db_write_string", (1, 20, "hello", 20), {Operation.WRITE}),
    ("force_bit", (Area.PA, 0, 1, True), {Operation.READ, Operation.WRITE}),
    ("cancel_force", (Area.PA, 0, 1), {Operation.READ, Operation.WRITE}),
    ("list_blocks", (), {Operation.DIAGNOSE}),
    ("list_blocks_of_type", (Block.DB, 100), {Operation.DIAGNOSE}),
    ("get_block_info", (Block.DB, 1), {Operation.DIAGNOSE}),
    ("get_cpu_info", (), {Operation.DIAGNOSE}),
    ("get_cp_info", (), {Operation.DIAGNOSE}),
    ("get_order_code", (), {Operation.DIAGNOSE}),
    ("get_protection", (), {Operation.DIAGNOSE}),
    ("read_force_table", (), {Operation.DIAGNOSE}),
    ("read_szl", (0x1C, 0), {Operation.DIAGNOSE}),
    ("read_szl_list", (), {Operation.DIAGNOSE}),
    ("upload", (1,), {Operation.PROGRAM}),
    ("full_upload", (Block.DB, 1), {Operation.PROGRAM}),
    ("download", (bytearray(600), 1), {Operation.PROGRAM}),
    ("compress", (10,), {Operation.PROGRAM}),
    ("copy_ram_to_rom", (10,), {Operation.PROGRAM}),
    ("plc_stop", (), {Operation.CONTROL}),
    ("plc_hot_start", (), {Operation.CONTROL}),
    ("plc_cold_start", (), {Operation.CONTROL}),
    ("get_plc_datetime", (), {Operation.READ}),
    ("set_plc_datetime", (datetime(2024, 1, 2),), {Operation.ADMIN}),  # noqa: DTZ001 - a PLC's clock has no zone
    ("set_plc_system_datetime", (), {Operation.ADMIN}),
    ("set_session_password", ("abc",), {Operation.ADMIN}),
    ("clear_session_password", (), {Operation.ADMIN}),
)


class Heard:
    """The conversation so far, read message by message."""

    def __init__(self, listening: Listening) -> None:
        self._listening = listening
        self._dissection = Dissection(Inspector.S7COMM)
        self._left = {True: b"", False: b""}
        self._at = 0

    def since(self) -> list[tuple[bool, Reason, list[dict[str, Any]]]]:
        """Return what was said since the last time, once it is quiet and nothing is half said."""
        found = []
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            time.sleep(QUIET_SECONDS)
            if self._at == len(self._listening.heard) and found and not any(self._left.values()):
                return found
            while self._at < len(self._listening.heard):
                from_client, data = self._listening.heard[self._at]
                self._at += 1
                messages, self._left[from_client] = self._dissection.messages(
                    self._left[from_client] + data, from_client
                )
                found += [(from_client, reason, accesses) for _, _, reason, accesses in messages]
        pytest.fail(f"nothing whole was said: {found}, {self._left}")


@pytest.fixture(scope="module")
def server() -> Iterator[int]:
    """Run a CPU of python-snap7; its port."""
    logging.getLogger("snap7").setLevel(logging.CRITICAL)
    port = free_port()
    running = Server(log=False)
    for area, number in AREAS:
        running.register_area(area, number, bytearray(1024))
    running.start(port)
    yield port
    running.stop()


def test_every_operation_of_a_real_client_is_what_it_is(server: int) -> None:
    """Requests have the operation of the table, answers are those that were asked for, nothing is refused."""
    with Listening(server) as listening:
        client = Client()
        client.connect("127.0.0.1", 0, 1, listening.port)
        heard = Heard(listening)
        opening = heard.since()
        assert {one["operation"] for _, _, accesses in opening for one in accesses} == {Operation.NONE}
        for name, arguments, operations in CALLS:
            getattr(client, name)(*arguments)
            said = heard.since()
            assert [reason for _, reason, _ in said if reason is not Reason.NONE] == [], name
            asked = {one["operation"] for from_client, _, accesses in said for one in accesses if from_client}
            assert asked == operations, name
            answered = [one["operation"] for from_client, _, accesses in said for one in accesses if not from_client]
            assert answered, name
            assert set(answered) <= operations, name
        client.disconnect()
        assert all(reason is Reason.NONE for _, reason, _ in heard.since())


@pytest.mark.parametrize(("name", "arguments"), [("delete", (Block.DB, 9)), ("get_cpu_state", ())])
def test_what_the_client_makes_up_is_refused(server: int, name: str, arguments: tuple[Any, ...]) -> None:
    """Two of its messages are laid out as no CPU reads them: a delete with its lengths elsewhere, a read of nothing."""
    with Listening(server) as listening:
        client = Client()
        client.connect("127.0.0.1", 0, 1, listening.port)
        heard = Heard(listening)
        heard.since()
        getattr(client, name)(*arguments)
        reasons = [reason for from_client, reason, _ in heard.since() if from_client]
        client.disconnect()
    assert reasons == [Reason.MESSAGE_MALFORMED]
