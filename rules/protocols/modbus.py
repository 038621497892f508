"""Names that policies may use for Modbus numbers: MODBUS Application Protocol Specification V1.1b3, clause 6.

In: nothing. Out: field → name → number.
"""

from __future__ import annotations

from typing import Final

NAMES: Final[dict[str, dict[str, int]]] = {
    "function": {
        "read_coils": 1,
        "read_discrete_inputs": 2,
        "read_holding_registers": 3,
        "read_input_registers": 4,
        "write_single_coil": 5,
        "write_single_register": 6,
        "read_exception_status": 7,
        "diagnostics": 8,
        "get_comm_event_counter": 11,
        "get_comm_event_log": 12,
        "write_multiple_coils": 15,
        "write_multiple_registers": 16,
        "report_server_id": 17,
        "read_file_record": 20,
        "write_file_record": 21,
        "mask_write_register": 22,
        "read_write_multiple_registers": 23,
        "read_fifo_queue": 24,
        "encapsulated_interface": 43,
    },
}
