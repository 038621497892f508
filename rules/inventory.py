"""A spreadsheet of assets, as CSV → rows that read like entries of `assets`, each cell with its line and column.

In: the bytes of a file and the `inventory` entry that names it. Out: `Sheet`: rows by asset name, and problems.
Rows are looked into only when somebody asks: 100,000 of them are common. Must never guess which column is meant: a
header is one of our keys, is mapped by `columns`, or (where there is a mapping) is none of our business.
"""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rules.model import Asset
from rules.nodes import Node
from rules.problems import PolicyError, Problem, did_you_mean
from rules.text import decoded
from rules.tree import resolve_plain

if TYPE_CHECKING:
    from rules.model import Inventory
    from rules.nodes import Place

DELIMITERS = (",", ";", "\t", "|")
LISTS = ("macs", "ips", "roles")
LEVELS = ("sl_c",)
SINGULAR = {"mac": "macs", "ip": "ips", "role": "roles"}
KEYS = ("name", *Asset.model_fields)
MAX_ROWS = 200_000  # of one file
BETWEEN = re.compile(r"[\s,;]+")  # values in one cell


@dataclass(slots=True)
class Sheet:
    """One file: its lines, which column holds which key, and what every row has that no cell says."""

    name: str
    lines: list[str] = field(default_factory=list)
    delimiter: str = ","
    columns: dict[str, int] = field(default_factory=dict)
    defaults: dict[str, Any] = field(default_factory=dict)
    rows: dict[str, Row] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    complete: bool = True  # False: assets may be missing for reasons that `problems` tells

    def refuse(self, place: Place, text: str, hint: str, code: str) -> None:
        """Note a problem that leaves assets unknown."""
        self.problems.append(Problem(*place, text, hint, code))
        self.complete = False

    def cell_place(self, line: int, index: int) -> Place:
        """Return where a cell of the row that begins in a line is. Reads the line again: only problems ask."""
        text = "".join(self.lines[line - 1 :][:100])
        column, quoted = 1, False
        for sign in text:
            if index == 0:
                break
            if sign == '"':
                quoted = not quoted
            elif sign == self.delimiter and not quoted:
                index -= 1
            column += 1
            if sign == "\n":
                line, column = line + 1, 1
        return self.name, line, column


class Row(Node):
    """One asset of a sheet; the values of its cells are made when they are asked for."""

    __slots__ = ("asset", "cells", "sheet")

    def __init__(self, sheet: Sheet, line: int, cells: list[str]) -> None:
        super().__init__(sheet.name, line, 1, {})
        self.sheet = sheet
        self.cells = cells
        self.asset: Asset | None = None  # what it became, when a sheet is used again (`sheet_memory`)

    @property
    def place(self) -> Place:
        """Return where the row's name is."""
        return self.sheet.cell_place(self.line, self.sheet.columns["name"])

    def child(self, key: str) -> Node | None:
        """Return one cell as a value; what the sheet's entry says for every row is not the row's own."""
        index = self.sheet.columns.get(key)
        text = self.cells[index].strip() if index is not None and index < len(self.cells) else ""
        if not text or index is None or key == "name":
            return None
        value = _value(key, text)
        if isinstance(value, list):
            return Cell(self, index, [Cell(self, index, item) for item in value])
        return Cell(self, index, value)

    def entries(self) -> dict[str, Node]:
        """Return all cells that say something."""
        found = {key: self.child(key) for key in self.sheet.columns}
        return {key: node for key, node in found.items() if node is not None}

    def loaded(self) -> Asset | None:
        """Return what it became when the sheet was read before."""
        return self.asset

    def plain(self) -> Any:
        """Return the asset as the models take it."""
        if self.asset is not None:
            return self.asset
        found = dict(self.sheet.defaults)
        cells, count = self.cells, len(self.cells)
        for key, index in self.sheet.columns.items():
            text = cells[index].strip() if index < count else ""
            if text and key != "name":
                found[key] = _value(key, text)
        return found


class Cell(Node):
    """A value of a row; its column is counted when somebody asks."""

    __slots__ = ("index", "row")

    def __init__(self, row: Row, index: int, value: Any) -> None:
        super().__init__(row.file, row.line, 1, value)
        self.row = row
        self.index = index

    @property
    def place(self) -> Place:
        """Return where the cell begins."""
        return self.row.sheet.cell_place(self.row.line, self.index)


def _value(key: str, text: str) -> Any:
    if key in LISTS:
        return [part for part in BETWEEN.split(text) if part]
    if key in LEVELS:
        levels = [resolve_plain(part) for part in BETWEEN.split(text) if part]
        return levels[0] if len(levels) == 1 else levels
    return text


def read_sheet(content: bytes, name: str, inventory: Inventory, node: Node) -> Sheet:
    """Read a CSV file; `node` is the entry that names it, for problems that are the entry's."""
    sheet = Sheet(name)
    try:
        text = decoded(content, name)
    except PolicyError as error:
        sheet.problems += error.problems
        sheet.complete = False
        return sheet
    sheet.lines = list(io.StringIO(text, newline=""))
    sheet.delimiter = inventory.delimiter or _delimiter(sheet.lines)
    sheet.defaults = {"zone": inventory.zone} if inventory.zone is not None else {}
    sheet.defaults |= {"roles": list(inventory.roles)} if inventory.roles else {}
    reader = csv.reader(sheet.lines, delimiter=sheet.delimiter, strict=True)
    try:
        _read_rows(sheet, reader, inventory, node)
    except csv.Error as error:
        line = max(reader.line_num, 1)
        sheet.refuse(
            (name, line, 1), f"not CSV: {error}", "check quotes: a quote inside of quotes is doubled", "POL067"
        )
    return sheet


def _delimiter(lines: list[str]) -> str:
    """Return what separates the header's words: the one of the usual separators that is there most often."""
    header = next((line for line in lines if line.strip()), "")
    outside = "".join(header.split('"')[::2])
    return max(DELIMITERS, key=outside.count)


def _read_rows(sheet: Sheet, reader: Any, inventory: Inventory, node: Node) -> None:
    header: list[str] = []
    begins = 1
    for cells in reader:
        line, begins = begins, reader.line_num + 1
        if not any(cells) or not any(cell.strip() for cell in cells):
            continue
        if not header:
            header = [cell.strip() for cell in cells]
            _find_columns(sheet, header, line, inventory, node)
            if not sheet.complete:
                return
            continue
        if len(cells) > len(header) and any(cell.strip() for cell in cells[len(header) :]):
            place = sheet.cell_place(line, len(header))
            text = f"{len(cells)} cells in a row; the header has {len(header)}"
            sheet.problems.append(
                Problem(*place, text, f"a cell with '{sheet.delimiter}' in it needs quotes", "POL067")
            )
        if len(sheet.rows) >= MAX_ROWS:
            sheet.refuse((sheet.name, line, 1), f"more than {MAX_ROWS} rows", "is this an inventory?", "POL063")
            return
        name = cells[sheet.columns["name"]].strip() if sheet.columns["name"] < len(cells) else ""
        row = Row(sheet, line, cells)
        earlier = sheet.rows.setdefault(name, row) if name else row
        if not name:
            sheet.problems.append(Problem(*row.place, "this row has no name", "every asset has one", "POL068"))
        elif earlier is not row:
            text = f"asset '{name}' is in line {earlier.line} already"
            sheet.problems.append(Problem(*row.place, text, "one row for each asset", "POL069"))
    if not header:
        sheet.refuse((sheet.name, 1, 1), "the spreadsheet is empty", "its first row names the columns", "POL066")


def _find_columns(sheet: Sheet, header: list[str], line: int, inventory: Inventory, node: Node) -> None:
    """Set the column of each key: those that the entry maps, then those that are called like a key of ours."""
    mapping = node.child("columns") or node
    for key, word in inventory.columns.items():
        place = mapping.file, *mapping.keys.get(key, mapping.place[1:])
        if key not in KEYS:
            sheet.refuse(place, f"unknown key '{key}'", did_you_mean(key, KEYS), "POL066")
        elif word not in header:
            hint = did_you_mean(word, [*filter(None, header)])
            sheet.refuse(place, f"'{sheet.name}' has no column '{word}'", hint, "POL066")
        else:
            sheet.columns[key] = header.index(word)
    mapped = set(sheet.columns.values())
    for index, word in enumerate(header):
        if index not in mapped:
            _own_column(sheet, word, sheet.cell_place(line, index), index, inventory)
    for key in ("name", "zone"):
        if key not in sheet.columns and key not in sheet.defaults:
            hint = "map one under 'columns'" + (", or give 'zone' for all rows" if key == "zone" else "")
            sheet.refuse((sheet.name, line, 1), f"no column for '{key}'", hint, "POL066")


def _own_column(sheet: Sheet, word: str, place: Place, index: int, inventory: Inventory) -> None:
    """Take a column by its own name. Without a mapping every word must be a key: it may be a misspelt one."""
    key = word.casefold().replace(" ", "_").replace("-", "_")
    key = SINGULAR.get(key, key)
    if key in KEYS and key not in sheet.columns:
        sheet.columns[key] = index
    elif key in sheet.columns and key not in inventory.columns:
        sheet.refuse(place, f"two columns for '{key}'", "rename or remove one of them", "POL066")
    elif word and not inventory.columns:
        hint = did_you_mean(key, KEYS)
        hint = hint if "mean" in hint else "map it under 'columns'; then columns that nobody maps are left alone"
        sheet.refuse(place, f"unknown column '{word}'", hint, "POL066")
