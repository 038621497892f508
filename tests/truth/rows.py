"""Wireshark's rows: `NAME.adus.csv` beside a capture, one row for each message, as fields that can be compared.

In: the CSV's path and a protocol. Out: rows that have that protocol, with the fields that stand on the wire. What
Wireshark copies from a request into its answer is not there and is left out: class, instance and attribute of CIP
answers. Of a CIP row, every field is the list over the message and those embedded in it, as Wireshark prints them.
"""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SUFFIX: Final = ".adus.csv"
# By protocol: the column without which a row is none of it, and the columns of the compared fields.
KEY_COLUMN: Final = {
    "modbus": "modbus.func_code",
    "s7comm": "s7comm.header.rosctr",
    "enip": "enip.command",
    "cip": "cip.service",
}
COLUMNS: Final[dict[str, dict[str, tuple[str, ...]]]] = {
    "modbus": {
        "unit": ("mbtcp.unit_id",),
        "function": ("modbus.func_code",),
        "exception": ("modbus.exception_code",),
        "address": ("modbus.reference_num",),
        "count": ("modbus.word_cnt", "modbus.bit_cnt"),
        "transaction": ("mbtcp.trans_id",),
    },
    "s7comm": {
        "rosctr": ("s7comm.header.rosctr",),
        "function": ("s7comm.param.func",),
        "userdata_group": ("s7comm.param.userdata.funcgroup",),
        "userdata_subfunction": ("s7comm.param.userdata.subfunc",),
    },
    "enip": {"command": ("enip.command",)},
}

Fields = dict[str, int | None]
Lists = dict[str, list[int]]


class Row(NamedTuple):
    """One message as Wireshark has it."""

    frame: int
    malformed: bool
    source: tuple[str, int]
    destination: tuple[str, int]
    fields: Fields | Lists


def rows(path: Path, protocol: str) -> Iterator[Row]:
    """Yield the rows of one protocol."""
    with path.open(encoding="utf-8", newline="") as file:
        for line in csv.DictReader(file):
            if not line.get(KEY_COLUMN[protocol]):
                continue
            fields = _lists(line) if protocol == "cip" else _fields(line, protocol)
            yield Row(
                int(line["frame.number"]),
                bool(line["malformed"]),
                (line["src"], int(line["srcport"])),
                (line["dst"], int(line["dstport"])),
                fields,
            )


def _fields(line: dict[str, str], protocol: str) -> Fields:
    found: Fields = {}
    for name, columns in COLUMNS[protocol].items():
        text = next((line[column] for column in columns if line[column]), "")
        found[name] = int(text.split(";")[0], 0) if text else None
    return found


def _lists(line: dict[str, str]) -> Lists:
    def numbers(column: str) -> list[int]:
        return [int(text, 0) for text in line[column].split(";") if text]

    found = {"service": [number & 0x7F for number in numbers("cip.service")]}
    found["response"] = [number >> 7 for number in numbers("cip.service")]
    answer = found["response"][0] == 1
    for name in ("class", "instance", "attribute"):
        found[name] = [] if answer else numbers(f"cip.{name}")
    found["status"] = numbers("cip.genstat")
    return found
