"""Names that policies may use for S7comm numbers (Wireshark's packet-s7comm.c).

In: nothing. Out: field → name → number.
"""

from __future__ import annotations

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
    "area": {
        "counter": 28,
        "timer": 29,
        "peripheral": 0x80,
        "inputs": 0x81,
        "outputs": 0x82,
        "flags": 0x83,
        "db": 0x84,
        "di": 0x85,
    },
}
