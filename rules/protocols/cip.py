"""Names that policies may use for CIP numbers (CIP Vol. 1, appendix A and chapter 5).

In: nothing. Out: field → name → number, and field → how any word becomes its number.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

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
        "get_attribute_single": 0x0E,
        "set_attribute_single": 0x10,
        "read_tag": 0x4C,
        "write_tag": 0x4D,
        "forward_close": 0x4E,
        "forward_open": 0x54,
    },
    "class": {
        "identity": 0x01,
        "message_router": 0x02,
        "assembly": 0x04,
        "connection": 0x05,
        "connection_manager": 0x06,
        "tcp_ip": 0xF5,
        "ethernet_link": 0xF6,
    },
}
SPELLED: Final[dict[str, Callable[[str], int]]] = {}
