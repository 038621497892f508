"""A policy in several files: applied by the command line, recorded, resumed and compared with what is on the disk."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.integration.control.test_command_line import ctl

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.control.plant import ControlRig

INVENTORY = "name;zone;ips\nspare-plc;control;10.20.50.77\n"


@pytest.fixture
def split(rig: ControlRig, water_works: str) -> Path:
    """Write the example as a main file, a fragment with its conduits, and a spreadsheet; return the main file."""
    main, conduits = water_works.split("\nconduits:", 1)
    folder = rig.policy_file.parent
    (folder / "conduits").mkdir()
    conduits, _, rest = conduits.partition("\ndenials:")
    (folder / "conduits" / "all.yaml").write_text("conduits:" + conduits)
    (folder / "spare.csv").write_text(INVENTORY)
    text = "include: conduits/*.yaml\ninventory: spare.csv\n" + main + "\ndenials:" + rest
    rig.policy_file.write_text(text)
    return rig.policy_file


def test_what_is_applied_is_recorded_and_comes_back(rig: ControlRig, split: Path) -> None:
    """The command sends all files; after a restart without them the same is in force."""
    before = rig.get("/v1/policy")
    done = ctl("policy", "apply", str(split), "-o", "json", socket=rig.socket)
    assert done.returncode == 0, done.stderr
    applied = json.loads(done.stdout)
    assert (applied["changes"]["assets"]["added"], applied["changes"]["conduits"]["added"]) == (["spare-plc"], [])
    policy = rig.get("/v1/policy")
    assert set(policy["files"]) == {"conduits/all.yaml", "spare.csv"}
    assert policy["files"]["spare.csv"] == INVENTORY
    assert policy["digest"] != before["digest"]
    rig.stop()
    for name in policy["files"]:
        (split.parent / name).unlink()
    rig.start()
    again = rig.get("/v1/policy")
    assert (again["digest"], again["generation"], again["files"]) == (policy["digest"], 2, policy["files"])
    assert again["file_differs"] is True


def test_every_file_counts_for_the_difference(rig: ControlRig, split: Path) -> None:
    """A fragment written, one more that a pattern takes in, a spreadsheet: each is seen, and its undoing too."""
    assert ctl("policy", "apply", str(split), socket=rig.socket).returncode == 0

    def differs() -> bool:
        return bool(rig.get("/v1/status")["policy"]["file_differs"])

    assert not differs()
    (split.parent / "spare.csv").write_text(INVENTORY + "more;control;\n")
    assert differs()
    (split.parent / "spare.csv").write_text(INVENTORY)
    assert not differs()
    more = split.parent / "conduits" / "more.yaml"
    more.write_text("conduits: {}\n")
    assert differs()
    more.unlink()
    assert not differs()


def test_the_first_start_reads_all_files(rig: ControlRig, split: Path) -> None:
    """Without a record the policy file is applied with what it includes."""
    rig.stop()
    rig.images, rig.generation = None, 0
    for record in (rig.base / "state").glob("*.json*"):
        record.unlink()
    rig.start()
    assert set(rig.get("/v1/policy")["files"]) == {"conduits/all.yaml", "spare.csv"}


def test_problems_of_fragments_come_back_with_their_files(rig: ControlRig, split: Path) -> None:
    """A wrong cell and a missing file are refused by the daemon as by the command, and nothing changes."""
    before = rig.get("/v1/policy")
    (split.parent / "spare.csv").write_text(INVENTORY.replace("control", "contrl"))
    for command in ("check", "apply"):
        done = ctl("policy", command, str(split), socket=rig.socket)
        assert done.returncode == 3
        assert f"{split.parent}/spare.csv:2:11: error POL030" in done.stderr
    body = {"text": split.read_text(), "files": {"spare.csv": INVENTORY}}
    status, answer = rig.call("POST", "/v1/policy", body)
    assert (status, [problem["code"] for problem in answer["problems"]]) == (422, ["POL065"])
    assert rig.get("/v1/policy")["digest"] == before["digest"]


def test_bodies_beyond_the_limit_are_refused_clearly(rig: ControlRig, tmp_path: Path) -> None:
    """The command says so before it sends anything; the server says so to others."""
    large = tmp_path / "large"
    large.mkdir()
    main = large / "policy.yaml"
    main.write_text("version: 1\nsite: {name: w}\ninventory: [" + ", ".join(f"{n}.csv" for n in range(4)) + "]\n")
    for number in range(4):
        (large / f"{number}.csv").write_text("name,zone\n" + "x" * (13 << 20))
    done = ctl("policy", "apply", str(main), socket=rig.socket)
    assert done.returncode == 3
    assert "48 MiB" in done.stderr
    status, answer = rig.call("POST", "/v1/policy", raw=b" " * ((64 << 20) + 1))
    assert (status, answer["code"]) == (413, "request_too_large")
    assert "64 MiB" in answer["detail"]
