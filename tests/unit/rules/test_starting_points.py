"""Every shipped site and pattern: written by `policy init`, loaded from there, and without a mistake."""

from __future__ import annotations

from json import loads
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from gateway.cli.main import app
from rules.starting_points import starting_points

if TYPE_CHECKING:
    from pathlib import Path

KNOWN = ("packaging-line", "water-works", "business-dmz-broker", "engineering-workstation", "vendor-remote-support")
DAY = "2026-11-23"  # reviews and waivers are judged as of this day
# What a reader must be told of a site that is right: proofs that nothing can give yet, waived findings, and for
# information the devices that only talk within their zone.
EXPECTED = {"POL226", "POL248"}
WAIVED = {"POL231"}


def test_what_ships_is_what_the_documentation_names() -> None:
    points = starting_points()
    assert tuple(points) == KNOWN
    assert all(point.about for point in points.values())


@pytest.mark.parametrize("name", KNOWN)
def test_it_is_written_and_can_be_applied(name: str, tmp_path: Path) -> None:
    run = CliRunner()
    written = run.invoke(app, ["policy", "init", "--from", name, str(tmp_path / "here")])
    assert written.exit_code == 0, written.output
    checked = run.invoke(app, ["-o", "json", "policy", "check", "--on", DAY, str(tmp_path / "here" / "policy.yaml")])
    assert checked.exit_code == 0, checked.output
    found = loads(checked.stdout)["warnings"]
    assert {one["code"] for one in found if not one["waived"]} <= EXPECTED
    assert {one["code"] for one in found if one["waived"]} <= WAIVED


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    mine = tmp_path / "policy.yaml"
    mine.write_text("mine")
    refused = CliRunner().invoke(app, ["policy", "init", "--from", "packaging-line", str(tmp_path)])
    assert refused.exit_code == 3
    assert [path.name for path in tmp_path.iterdir()] == ["policy.yaml"]
    assert mine.read_text() == "mine"


def test_an_unknown_one_names_those_there_are(tmp_path: Path) -> None:
    refused = CliRunner().invoke(app, ["policy", "init", "--from", "nothing", str(tmp_path)])
    assert refused.exit_code == 2
    assert "packaging-line" in refused.output
