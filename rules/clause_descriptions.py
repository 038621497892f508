"""What the keys of a clause mean, by protocol, in a line each: the part of `descriptions` about messages.

In: nothing. Out: key → sentence, by model. Numbers are as on the wire; every key but the first three takes a number, a
range "a-b", or a list of them, and a name where docs/reference/protocols gives one.
"""

from __future__ import annotations

from typing import Final

CLAUSE: Final = {
    "operation": "only for these operations; absent: for all that the conduit permits",
    "rate": "how often it may match, like 10/min; for everybody who uses the conduit together",
}
STEP: Final = {"step": "by how much a value written may differ from the last one known at its place"}
VALUE: Final = "what is written, unsigned: every value within one range"
CLAUSES: Final[dict[str, dict[str, str]]] = {
    "Constraints": {
        "modbus": "a list of clauses about Modbus",
        "s7comm": "about S7comm",
        "s7comm-plus": "about S7comm-plus",
        "enip": "about EtherNet/IP's encapsulation",
        "cip": "about CIP",
        "cotp": "about the connect of ISO-on-TCP: whom S7 clients connect to, and as what",
    },
    "ModbusClause": CLAUSE
    | STEP
    | {
        "unit": "unit identifier, 0 to 255",
        "function": "function code or its name, like read_holding_registers",
        "address": "coils, inputs or registers, counted from 0",
        "count": "how many of them at once",
        "transaction": "transaction identifier",
        "subfunction": "of diagnostics and encapsulated interface",
        "value": VALUE,
        "file": "file number of file records",
        "record": "record number of file records",
    },
    "S7commClause": CLAUSE
    | STEP
    | {
        "rosctr": "kind of PDU: job, userdata",
        "function": "function code or its name, like write_var",
        "userdata_group": "function group of userdata",
        "userdata_subfunction": "subfunction of userdata",
        "area": "memory area or its name: db, flags, inputs, outputs",
        "db": "number of the data block",
        "address": "bytes touched, counted from 0; counters and timers by number",
        "count": "how many bytes; has to stand beside value and step",
        "reference": "PDU reference",
        "block": "block, its type and number in one",
        "value": VALUE,
    },
    "S7commPlusClause": CLAUSE
    | {"version": "protocol version", "opcode": "opcode", "function": "function", "reference": "sequence number"},
    "EnipClause": CLAUSE
    | {"command": "encapsulation command", "session": "session handle", "connection": "connection identifier"},
    "CipClause": CLAUSE
    | {
        "service": "service code or its name, like get_attribute_single",
        "class": "object class or its name, like identity",
        "instance": "instance",
        "attribute": "attribute",
        "connection": "connection identifier",
        "tag": "tag of a controller",
        "value": VALUE,
        "offset": "first element, or offset",
        "count": "how many elements",
        "type": "data type code",
    },
    "CotpClause": CLAUSE
    | {
        "destination_tsap": "called TSAP as one number, of up to eight octets",
        "connection_type": "its first octet of two, or a name: pg, op, basic",
        "rack": "of the CPU: the upper three bits of the second octet",
        "slot": "of the CPU: the lower five bits",
    },
}
