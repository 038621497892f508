"""Names that policies may use for EtherNet/IP numbers: CIP Vol. 2, 2-3.1 (encapsulation commands).

In: nothing. Out: field → name → number.
"""

from __future__ import annotations

from typing import Final

NAMES: Final[dict[str, dict[str, int]]] = {
    "command": {
        "nop": 0x0000,
        "list_services": 0x0004,
        "list_identity": 0x0063,
        "list_interfaces": 0x0064,
        "register_session": 0x0065,
        "unregister_session": 0x0066,
        "send_rr_data": 0x006F,
        "send_unit_data": 0x0070,
        "indicate_status": 0x0072,
        "cancel": 0x0073,
    },
}
