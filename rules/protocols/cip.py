"""Names that policies may use for CIP numbers (CIP Vol. 1, appendix A and chapter 5; Rockwell 1756-PM020).

In: nothing, or the name of a tag. Out: field → name → number, and the number of any tag's name.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from fastpath.abi import mix64

NAMES: Final[dict[str, dict[str, int]]] = {
    "service": {
        "get_attributes_all": 0x01,
        "set_attributes_all": 0x02,
        "get_attribute_list": 0x03,
        "set_attribute_list": 0x04,
        "reset": 0x05,
        "start": 0x06,
        "stop": 0x07,
        "create": 0x08,
        "delete": 0x09,
        "multiple_service_packet": 0x0A,
        "apply_attributes": 0x0D,
        "get_attribute_single": 0x0E,
        "set_attribute_single": 0x10,
        "find_next_object_instance": 0x11,
        "restore": 0x15,
        "save": 0x16,
        "no_operation": 0x17,
        "get_member": 0x18,
        "set_member": 0x19,
        "insert_member": 0x1A,
        "remove_member": 0x1B,
        "group_sync": 0x1C,
        "execute_pccc": 0x4B,  # of class pccc
        "read_tag": 0x4C,  # of a tag, by name or by instance of class symbol; so are those up to 0x55 but for the others
        "write_tag": 0x4D,
        "read_modify_write_tag": 0x4E,
        "forward_close": 0x4E,  # of class connection_manager
        "read_tag_fragmented": 0x52,
        "unconnected_send": 0x52,  # of class connection_manager
        "write_tag_fragmented": 0x53,
        "forward_open": 0x54,  # of class connection_manager
        "get_instance_attribute_list": 0x55,
        "get_connection_data": 0x56,
        "search_connection_data": 0x57,
        "get_connection_owner": 0x5A,
        "large_forward_open": 0x5B,
    },
    "class": {
        "identity": 0x01,
        "message_router": 0x02,
        "devicenet": 0x03,
        "assembly": 0x04,
        "connection": 0x05,
        "connection_manager": 0x06,
        "register": 0x07,
        "discrete_input": 0x08,
        "discrete_output": 0x09,
        "analog_input": 0x0A,
        "analog_output": 0x0B,
        "parameter": 0x0F,
        "group": 0x10,
        "file": 0x37,
        "time_sync": 0x43,
        "modbus": 0x44,
        "device_level_ring": 0x47,
        "quality_of_service": 0x48,
        "cip_security": 0x5D,
        "ethernet_ip_security": 0x5E,
        "certificate_management": 0x5F,
        "program_name": 0x64,
        "pccc": 0x67,
        "symbol": 0x6B,
        "template": 0x6C,
        "wall_clock": 0x8B,
        "port": 0xF4,
        "tcp_ip": 0xF5,
        "ethernet_link": 0xF6,
    },
    "type": {
        "bool": 0xC1,
        "sint": 0xC2,
        "int": 0xC3,
        "dint": 0xC4,
        "lint": 0xC5,
        "usint": 0xC6,
        "uint": 0xC7,
        "udint": 0xC8,
        "ulint": 0xC9,
        "real": 0xCA,
        "lreal": 0xCB,
        "string": 0xD0,
        "byte": 0xD1,
        "word": 0xD2,
        "dword": 0xD3,
        "lword": 0xD4,
        "structure": 0x02A0,
    },
}
MOST_CHARACTERS: Final = 500  # a path is at most 510 bytes long
_SYMBOL: Final = re.compile(r"[!-+\--Z\\^-~]+")  # printable, but for the characters that join: , . [ ]
_NAME: Final = re.compile(rf"\.?(?:{_SYMBOL.pattern}(?:\[\d{{1,10}}(?:,\d{{1,10}}){{0,2}}\])?)"
                          rf"(?:\.{_SYMBOL.pattern}(?:\[\d{{1,10}}(?:,\d{{1,10}}){{0,2}}\])?)*")  # fmt: skip


def tag_number(name: str) -> int:
    """Return the number that stands for a tag's name in the field `tag`; `cip_path.pxd` is the same function.

    Symbols are joined by dots, subscripts stand in brackets: `Program:Main.Motor[3].Speed`, `Matrix[1,2]`. Upper and
    lower case are the same. Members of an instance of class symbol begin with a dot: `.Speed`.

    Raises ValueError, with what to write instead, for what no path says.
    """
    if len(name) > MOST_CHARACTERS or not _NAME.fullmatch(name):
        raise ValueError(f"not a tag's name: {name!r}; write Tag, Tag.Member, Tag[1,2] or Program:Name.Tag")
    single = re.search(r"\[(\d+)\]$", name)
    if single:
        shorter = name[: single.start()]
        raise ValueError(f"one subscript at the end is a field of its own: write tag: {shorter}, offset: {single[1]}")
    text = re.sub(r"(?<=[\[,])0+(?=\d)", "", name).translate(_LOWER).encode("ascii")
    number = 0
    for start in range(0, len(text), 8):
        number = mix64(number, int.from_bytes(text[start : start + 8], "little"))
    return mix64(number, len(text))


_LOWER: Final = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}
SPELLED: Final[dict[str, Callable[[str], int]]] = {"tag": tag_number}
