"""The fast lane's generation in the kernel: which mark lets a flow pass now, and the flows that do.

In: marks. Out: the map `lane_generation` and the sets of flows in `bridge conduit`, changed in one netlink transaction
and read back. No process is started: a change of generation takes effect within a fraction of a millisecond.
Must never put a flow into the lane: only frames that the engine marked do. Called by control and `probe`.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

from gateway.errors import KernelError
from gateway.kernel.nfnetlink import (
    NLM_F_CREATE,
    Request,
    attribute,
    attributes,
    dump,
    nested,
    open_socket,
    text,
    transaction,
)
from rules.static_lane import GENERATION_MAP, LANE_SETS, PORT_SHIFT

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

TABLE: Final = "conduit"
NFPROTO_BRIDGE: Final = 7
NFT_MSG_NEWSETELEM, NFT_MSG_GETSETELEM, NFT_MSG_DELSETELEM = 12, 13, 14
NFTA_SET_ELEM_LIST_TABLE, NFTA_SET_ELEM_LIST_SET, NFTA_SET_ELEM_LIST_ELEMENTS = 1, 2, 3
NFTA_LIST_ELEM, NFTA_DATA_VALUE = 1, 1
NFTA_SET_ELEM_KEY, NFTA_SET_ELEM_DATA, NFTA_SET_ELEM_EXPIRATION = 1, 2, 5
NFTA_SET_ELEM_EXPR, NFTA_SET_ELEM_EXPRESSIONS = 7, 11
NFTA_EXPR_DATA, NFTA_COUNTER_BYTES, NFTA_COUNTER_PACKETS = 2, 1, 2
_ADDRESS_BYTES: Final = {"4": 4, "6": 16}


@dataclass(frozen=True, slots=True)
class Entry:
    """One direction of a flow in the lane; its counts begin with the frame by which it entered."""

    mark: int
    in_port: int  # the policy's number of the port that it comes in by
    out_ifindex: int
    source_mac: str
    protocol: str
    source: str
    source_port: int
    destination: str
    destination_port: int
    packets: int
    bytes: int
    expires_ms: int


class Lane:
    """The lane of one network namespace: the one in which it is first used.

    It keeps its socket, because closing one makes the kernel wait for all processors first; after an error it takes a
    new one. Not for two threads at a time.
    """

    def __init__(self) -> None:
        self._netlink: socket.socket | None = None

    def open_at(self, mark: int, ports: Mapping[int, int], *, afresh: bool = False) -> None:
        """Let flows with this mark pass between these ports (numbers by ifindex) and no others, from one instant on.

        `afresh` also forgets every flow. Raises KernelError; then the mark before may still be in force: call `close`.
        """
        wanted = {ifindex: number << PORT_SHIFT | mark for ifindex, number in ports.items()}
        pairs = (
            nested(
                NFTA_LIST_ELEM,
                nested(NFTA_SET_ELEM_KEY, attribute(NFTA_DATA_VALUE, struct.pack("=I", ifindex))),
                nested(NFTA_SET_ELEM_DATA, attribute(NFTA_DATA_VALUE, struct.pack("=I", value))),
            )
            for ifindex, value in wanted.items()
        )
        elements = nested(NFTA_SET_ELEM_LIST_ELEMENTS, *pairs)
        opened = Request(NFT_MSG_NEWSETELEM, NFPROTO_BRIDGE, _place(GENERATION_MAP) + elements, NLM_F_CREATE)
        emptied = (GENERATION_MAP, *(LANE_SETS if afresh else ()))
        self._change(*map(_emptied, emptied), opened)
        if self._generations() != wanted:
            raise KernelError("LANE_LOST", f"the kernel does not hold the fast lane's generation {mark:#010x}")

    def close(self) -> None:
        """Let no flow pass any more; done where there is no lane. Raises KernelError when the kernel refuses."""
        if not self.mark_in_force():
            return
        self._change(_emptied(GENERATION_MAP))
        if self.mark_in_force():
            raise KernelError("LANE_LOST", "the kernel still holds a generation of the fast lane")

    def mark_in_force(self) -> int:
        """Return the mark with which flows pass now; 0 while the lane is closed, or where there is none."""
        marks = {_of_any_port(value) for value in self._generations().values()}
        if len(marks) > 1:
            raise KernelError("LANE_TORN", "the kernel holds two generations of the fast lane")
        return next(iter(marks), 0)

    def entries(self, limit: int) -> list[Entry]:
        """Return flows that are in the lane, also those of generations before, which pass no more."""
        found: list[Entry] = []
        for name in LANE_SETS:
            found += [_entry(name, element) for element in self._elements(name)[: limit - len(found)]]
        return found

    def forget_socket(self) -> None:
        """Close the socket; it is opened again when needed."""
        if self._netlink is not None:
            self._netlink.close()
            self._netlink = None

    def _generations(self) -> dict[int, int]:
        """Return by ifindex the mark with which a port's flows pass, with its number."""
        return {
            _number(element[NFTA_SET_ELEM_KEY]): _number(element[NFTA_SET_ELEM_DATA])
            for element in self._elements(GENERATION_MAP)
        }

    def _change(self, *requests: Request) -> None:
        try:
            transaction(self._socket(), requests)
        except (OSError, KernelError) as error:
            self.forget_socket()
            raise KernelError("LANE_REFUSED", f"the fast lane's generation: {error}") from error

    def _elements(self, name: str) -> list[dict[int, bytes]]:
        try:
            answers = dump(self._socket(), NFT_MSG_GETSETELEM, NFPROTO_BRIDGE, _place(name))
        except FileNotFoundError:
            self.forget_socket()
            return []
        except (OSError, KernelError) as error:
            self.forget_socket()
            raise KernelError("LANE_UNREADABLE", f"{name}: {error}") from error
        lists = (answer.get(NFTA_SET_ELEM_LIST_ELEMENTS, b"") for answer in answers)
        return [dict(attributes(element)) for listed in lists for _, element in attributes(listed)]

    def _socket(self) -> socket.socket:
        if self._netlink is None:
            self._netlink = open_socket()
        return self._netlink


def _of_any_port(mark: int) -> int:
    return mark & (1 << PORT_SHIFT) - 1


def _entry(name: str, element: dict[int, bytes]) -> Entry:
    """Read one element; the key's fields are those of `rules.static_lane`, each padded to 4 bytes."""
    key = _value(element[NFTA_SET_ELEM_KEY])
    width = _ADDRESS_BYTES[name[-1]]
    mark, out_ifindex = struct.unpack_from("=II", key)
    source, destination, ports = (key[at : at + width] for at in (16, 16 + width, 16 + 2 * width))
    source_port, destination_port = struct.unpack_from(">HH", ports)
    packets, volume = _counted(element)
    return Entry(
        mark=_of_any_port(mark),
        in_port=mark >> PORT_SHIFT,
        out_ifindex=out_ifindex,
        source_mac=key[8:14].hex(":"),
        protocol=name[5:8],
        source=str(ip_address(source)),
        source_port=source_port,
        destination=str(ip_address(destination)),
        destination_port=destination_port,
        packets=packets,
        bytes=volume,
        expires_ms=int.from_bytes(element.get(NFTA_SET_ELEM_EXPIRATION, b""), "big"),
    )


def _counted(element: dict[int, bytes]) -> tuple[int, int]:
    expression = element.get(NFTA_SET_ELEM_EXPR, b"")
    if not expression:  # a kernel that lists several expressions
        expression = dict(attributes(element.get(NFTA_SET_ELEM_EXPRESSIONS, b""))).get(NFTA_LIST_ELEM, b"")
    data = dict(attributes(dict(attributes(expression)).get(NFTA_EXPR_DATA, b"")))
    packets, volume = (
        int.from_bytes(data.get(kind, b""), "big") for kind in (NFTA_COUNTER_PACKETS, NFTA_COUNTER_BYTES)
    )
    return packets, volume


def _number(data: bytes) -> int:
    return int(struct.unpack("=I", _value(data))[0])


def _value(data: bytes) -> bytes:
    return dict(attributes(data)).get(NFTA_DATA_VALUE, b"")


def _place(name: str) -> bytes:
    return attribute(NFTA_SET_ELEM_LIST_TABLE, text(TABLE)) + attribute(NFTA_SET_ELEM_LIST_SET, text(name))


def _emptied(name: str) -> Request:
    """Return the request that removes every element: without any named, all are meant."""
    return Request(NFT_MSG_DELSETELEM, NFPROTO_BRIDGE, _place(name))
