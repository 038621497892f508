"""Assets from spreadsheets: dialects, columns, and problems that say which cell."""

from __future__ import annotations

import pytest

from rules.bundle import Bundle
from rules.levels import Levels
from rules.load import load_bundle
from rules.model import Policy
from rules.problems import PolicyError

HEAD = "version: 1\nsite: {name: works}\nzones: {plant: {kind: control}, dmz: {kind: dmz}}\n"
ROWS = "name,zone,ips,macs,roles\nplc1,plant,10.0.0.1,02:00:00:00:00:01,plc\nplc2,dmz,10.0.0.2 10.0.0.3,,plc;hmi\n"


def load(rows: str | bytes, entry: str = "assets.csv", more: str = "") -> Policy:
    """Load a policy with one spreadsheet."""
    content = rows.encode() if isinstance(rows, str) else rows
    return load_bundle(Bundle("policy.yaml", f"{HEAD}inventory: [{entry}]\n{more}", {"assets.csv": content}))


def problems_of(rows: str | bytes, entry: str = "assets.csv", more: str = "") -> list[tuple[str, int, int, str]]:
    """Return file, line, column and code of every problem of a policy that must be refused."""
    with pytest.raises(PolicyError) as caught:
        load(rows, entry, more)
    return [(problem.path, problem.line, problem.column, problem.code) for problem in caught.value.problems]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_dialects(delimiter: str, ending: str, mark: str) -> None:
    """The delimiter is seen from the header, any line end will do, and a byte order mark is no part of a name."""
    rows = ROWS.replace("plc;hmi", "plc hmi").replace(",", delimiter).replace("\n", ending)
    assets = load(mark + rows).assets
    assert [str(ip) for ip in assets["plc2"].ips] == ["10.0.0.2", "10.0.0.3"]
    assert assets["plc2"].roles == ("plc", "hmi")
    assert assets["plc1"].macs == (bytes.fromhex("020000000001"),)
    assert assets["plc2"].macs == ()


def test_columns_are_mapped_and_others_left_alone() -> None:
    """With a mapping, columns that nobody maps are none of our business; a cell comes before the entry's default."""
    rows = 'Tag;Area;IP;Bought;Vendor\nP-1;;10.0.0.1;2019;"Pumps; Inc."\nP-2;dmz;;2020;\n\n;;;;\n'
    entry = '{csv: assets.csv, delimiter: ";", columns: {name: Tag, zone: Area, ips: IP}, zone: plant, roles: [pump]}'
    assets = load(rows, entry).assets
    assert {name: (asset.zone, asset.roles, asset.vendor) for name, asset in assets.items()} == {
        "P-1": ("plant", ("pump",), "Pumps; Inc."),
        "P-2": ("dmz", ("pump",), ""),
    }


def test_words_of_the_header_are_read_kindly() -> None:
    """Case, blanks and the singular make no difference; levels may be one number or seven."""
    assets = load("Name,Zone,IP,SL C\na,plant,10.0.0.1,2\nb,plant,10.0.0.2,1 2 3 4 0 1 2\n").assets
    assert assets["a"].sl_c == Levels(*[2] * 7)
    assert assets["b"].sl_c == Levels(1, 2, 3, 4, 0, 1, 2)


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ("name,zone\na,plnt\n", (2, 3, "POL030")),
        ("name,zone,ips\na,plant,10.0.0.300\n", (2, 9, "POL013")),
        ('name,zone,description,ips\na,plant,"two\nlines, here",10.0.0.300\n', (3, 14, "POL013")),
        ("name,zone\na b,plant\n", (2, 1, "POL019")),
        ("zone,name\nplant,a b\n", (2, 7, "POL019")),
        ("name,zone\n,plant\n", (2, 1, "POL068")),
        ("name,zone\na,plant\nb,dmz\na,dmz\n", (4, 1, "POL069")),
        ("name,zone\na,plant,extra\n", (2, 9, "POL067")),
        ('name,zone\na,"plant"x\n', (2, 1, "POL067")),
        ("name,zonee\na,plant\n", (1, 6, "POL066")),
        ("name,zone,name\na,plant,b\n", (1, 11, "POL066")),
        ("nam,zone\na,plant\n", (1, 1, "POL066")),
        ("", (1, 1, "POL066")),
        ("\n\n", (1, 1, "POL066")),
        (b"name,zone\na,pl\xe4nt\n", (2, 5, "POL003")),
        (b"name,zone\na,pl\x00nt\n", (2, 5, "POL004")),
        ("name,zone,ips\na,plant,10.0.0.1\nb,plant,10.0.0.1\n", None),
    ],
)
def test_problems_name_the_cell(rows: str | bytes, problem: tuple[int, int, str] | None) -> None:
    """File, line and column of the cell, whatever comes before it in the row."""
    if problem is None:
        load(rows)  # one address twice is the whole policy's matter: `check`
        return
    assert ("assets.csv", *problem) in problems_of(rows)


@pytest.mark.parametrize(
    ("entry", "code"),
    [
        ("{csv: assets.csv, columns: {name: Tg}}", "POL066"),
        ("{csv: assets.csv, columns: {nam: name}}", "POL066"),
        ("{csv: assets.csv, delimiter: x}", "POL066"),
        ("{csv: assets.csv, zone: nowhere}", "POL030"),
        ("{csv: other.csv}", "POL060"),
        ("{csv: ../assets.csv}", "POL062"),
        ("{file: assets.csv}", "POL011"),
    ],
)
def test_mistakes_of_the_entry_are_the_entry_s(entry: str, code: str) -> None:
    """They stand in the policy file."""
    assert ("policy.yaml", 4, code) in [(path, line, code) for path, line, _, code in problems_of(ROWS, entry)]


def test_a_sheet_that_is_not_understood_hides_no_names() -> None:
    """When the assets are not known, nothing is said of those that a conduit names."""
    conduit = "conduits: {c: {from: {asset: plc1}, to: {asset: plc9}, services: ssh}}\n"
    assert [found[-1] for found in problems_of("nam,zone\n", more=conduit)] == ["POL066", "POL066"]
    assert [found[-1] for found in problems_of(ROWS, more=conduit)] == ["POL031"]


def test_roles_of_all_rows_are_roles() -> None:
    """A conduit may name a role that only the entry gives; where roles are declared, the entry's must be."""
    entry = "{csv: assets.csv, roles: [pump]}"
    conduit = "conduits: {c: {from: {role: pump}, to: {zone: dmz}, services: ssh}}\n"
    rows = "name,zone\na,plant\n"
    assert load(rows, entry, conduit).assets["a"].roles == ("pump",)
    assert problems_of(rows, entry, conduit + "roles: {plc: }\n") == [("policy.yaml", 4, 39, "POL043")]


def test_rows_and_entries_share_names() -> None:
    """An asset of the text and a row of the same name are one too many; the row's line is named."""
    with pytest.raises(PolicyError) as caught:
        load(ROWS, more="assets: {plc1: {zone: plant}}\n")
    (problem,) = caught.value.problems
    assert (problem.path, problem.line, problem.code) == ("assets.csv", 2, "POL069")
    assert "policy.yaml:5" in problem.message


def test_conflicts_of_rows_name_both_lines() -> None:
    """A broken policy is searched for conflicts too, in spreadsheets as in texts."""
    rows = "name,zone,ips\na,plant,10.0.0.1\nb,plant,10.0.0.1\nc,nowhere,\n"
    assert ("assets.csv", 3, 9, "POL101") in problems_of(rows)
