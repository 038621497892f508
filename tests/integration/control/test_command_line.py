"""`conduitctl` as scripts use it: JSON, exit codes, messages on stderr."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.integration.control.plant import ROOT, ControlRig

if TYPE_CHECKING:
    from pathlib import Path

EXAMPLE = ROOT / "rules" / "examples" / "water-works.yaml"


def ctl(*argv: str, socket: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run conduitctl."""
    where = ["--socket", str(socket)] if socket else []
    command = [sys.executable, "-m", "gateway.cli.main", *argv, *where]
    environment = dict(os.environ, PYTHONPATH=str(ROOT))
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)


def test_nobody_answers_is_5(tmp_path: Path) -> None:
    """Without a daemon the exit code is 5, stdout is empty, stderr has one block with a hint."""
    done = ctl("status", socket=tmp_path / "none.sock")
    assert done.returncode == 5
    assert done.stdout == ""
    assert "hint:" in done.stderr
    assert "Traceback" not in done.stderr


def test_wrong_usage_is_2() -> None:
    """A stage that does not exist is a usage error."""
    assert ctl("stage", "set", "off").returncode == 2


def test_policy_check_without_daemon(tmp_path: Path) -> None:
    """A right file is 0; a wrong one is 3 with file:line:column of every mistake."""
    assert ctl("policy", "check", str(EXAMPLE)).returncode == 0
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(EXAMPLE.read_text().replace("kind: dmz", "kind: nonsense").replace("10.20.40.10", "10.20.40.999"))
    done = ctl("policy", "check", str(wrong))
    assert done.returncode == 3
    places = [line for line in done.stderr.splitlines() if line.startswith(f"{wrong}:") and ": error POL" in line]
    assert len(places) >= 2
    assert all(int(line[len(str(wrong)) :].split(":")[1]) > 0 for line in places)
    assert ctl("policy", "check", str(tmp_path / "missing.yaml")).returncode == 3


def test_explain_without_daemon() -> None:
    """`explain --policy` judges by a file; the output form may follow the verb."""
    done = ctl("explain", "--policy", str(EXAMPLE), "hmi-1", "plc-1", "modbus", "-o", "json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["verdict"], found["conduit"]) == ("accept", "hmi-polls-plcs")
    assert ctl("explain", "--policy", str(EXAMPLE), "nobody", "plc-1", "modbus").returncode == 3


@pytest.mark.parametrize(
    "command",
    ["status", "doctor", "stage get", "stage get --all", "policy show", "zones", "assets", "conduits", "flows",
     "events", "counters", "quarantine list", "journal --verify", "explain office-pc plc-1 tcp/502"],
)  # fmt: skip
def test_every_page_as_table_and_json(calm: ControlRig, command: str) -> None:
    """Every asking verb works in both output forms."""
    table = ctl(*command.split(), socket=calm.socket)
    assert table.returncode == 0, table.stderr
    assert table.stdout
    for line in [ctl(*command.split(), "-o", "json", socket=calm.socket).stdout]:
        assert [json.loads(part) for part in ([line] if command != "events" else line.splitlines())]


def test_operators_day(rig: ControlRig, tmp_path: Path) -> None:
    """Dry run, apply, stages, quarantine: each says what it did and ends with 0."""
    changed = tmp_path / "changed.yaml"
    changed.write_text(EXAMPLE.read_text().replace("ceiling: monitor", "ceiling: alert"))
    dry = ctl("policy", "apply", str(changed), "--dry-run", "-o", "json", socket=rig.socket)
    assert json.loads(dry.stdout)["ok"] is True
    assert rig.get("/v1/status")["policy"]["generation"] == 1
    assert ctl("policy", "apply", str(changed), "--reason", "test", socket=rig.socket).returncode == 0
    assert rig.get("/v1/status")["policy"]["generation"] == 2
    forced = ("--force", "--reason", "rehearsal")
    pair = ("--pair", "enterprise", "control")
    done = ctl("stage", "set", "enforce", *forced, *pair, "-o", "json", socket=rig.socket)
    assert json.loads(done.stdout)["object"] == "pair:enterprise:control"
    assert ctl("stage", "reset", "--pair", "enterprise", "control", socket=rig.socket).returncode == 0
    assert ctl("stage", "set", "enforce", "--conduit", "nobody", socket=rig.socket).returncode == 3
    added = ctl("quarantine", "add", "office-pc", "--reason", "odd", "--for", "2h", "-o", "json", socket=rig.socket)
    assert json.loads(added.stdout)["until"] is not None
    assert ctl("quarantine", "release", "office-pc", socket=rig.socket).returncode == 0
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("version: 1\nzones: 3\n")
    refused = ctl("policy", "apply", str(wrong), socket=rig.socket)
    assert refused.returncode == 3
    assert f"{wrong}:" in refused.stderr
    assert rig.get("/v1/status")["policy"]["generation"] == 2


def test_kernel_refusal_is_4(rig: ControlRig) -> None:
    """When the kernel does not follow, the exit code is 4."""
    rig.refuse_in_kernel("update_static")
    assert ctl("stage", "set", "enforce", "--force", "--reason", "rehearsal", socket=rig.socket).returncode == 4
