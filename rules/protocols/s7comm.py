"""Names that policies may use for S7comm numbers (Wireshark's packet-s7comm.c).

In: nothing. Out: field → name → number, and field → how any word becomes its number; the same for S7comm-plus, and for
the COTP connect in front of both.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

NAMES: Final[dict[str, dict[str, int]]] = {
    "rosctr": {"job": 1, "ack": 2, "ack_data": 3, "userdata": 7},
    "function": {
        "cpu_services": 0x00,
        "read_var": 0x04,
        "write_var": 0x05,
        "request_download": 0x1A,
        "download_block": 0x1B,
        "download_ended": 0x1C,
        "start_upload": 0x1D,
        "upload": 0x1E,
        "end_upload": 0x1F,
        "pi_service": 0x28,
        "plc_stop": 0x29,
        "setup_communication": 0xF0,
    },
    "userdata_group": {
        "mode_transition": 0,
        "programmer": 1,
        "cyclic": 2,
        "blocks": 3,
        "cpu": 4,
        "security": 5,
        "pbc": 6,
        "time": 7,
        "nc_programming": 15,
    },
    "area": {
        "data_record": 1,
        "counter": 28,
        "timer": 29,
        "counter_200": 30,
        "timer_200": 31,
        "peripheral": 0x80,
        "inputs": 0x81,
        "outputs": 0x82,
        "flags": 0x83,
        "db": 0x84,
        "di": 0x85,
    },
}
PLUS_NAMES: Final[dict[str, dict[str, int]]] = {
    "opcode": {"request": 0x31, "response": 0x32, "notification": 0x33},
    "function": {
        "explore": 0x04BB,
        "create_object": 0x04CA,
        "delete_object": 0x04D4,
        "set_variable": 0x04F2,
        "get_variable": 0x04FC,
        "add_link": 0x0506,
        "remove_link": 0x051A,
        "get_link": 0x0524,
        "set_multi_variables": 0x0542,
        "get_multi_variables": 0x054C,
        "begin_sequence": 0x0556,
        "end_sequence": 0x0560,
        "invoke": 0x056B,
        "set_var_substreamed": 0x057C,
        "get_var_substreamed": 0x0586,
        "get_variables_address": 0x0590,
        "init_ssl": 0x05B3,
    },
}
COTP_NAMES: Final[dict[str, dict[str, int]]] = {
    "connection_type": {"pg": 1, "op": 2, "basic": 3},  # programming device, operator panel, any other
}
BLOCK_TYPES: Final = {"ob": 8, "db": 10, "sdb": 11, "fc": 12, "sfc": 13, "fb": 14, "sfb": 15}
BLOCKS_OF_A_TYPE: Final = 100_000  # their numbers travel as five decimal digits
_BLOCK: Final = re.compile(r"([a-z]{2,3})([0-9]{1,5})")


def block_number(word: str) -> int:
    """Return the number that stands for a block in the field `block`: db17 is 10 x 100,000 + 17.

    Raises ValueError, with what to write instead, for what names no block.
    """
    parts = _BLOCK.fullmatch(word.lower())
    if parts is None or parts[1] not in BLOCK_TYPES:
        raise ValueError(f"no block: {word!r}; write a type ({', '.join(BLOCK_TYPES)}) and a number, as in db17")
    return BLOCK_TYPES[parts[1]] * BLOCKS_OF_A_TYPE + int(parts[2])


SPELLED: Final[dict[str, Callable[[str], int]]] = {"block": block_number}
