"""Who may what: the kernel's word about the peer decides, and every refusal is recorded."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from fastpath.abi import Stage
from tests.integration.control.plant import ROOT, ControlRig, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

STRANGER = 65534
VIEWER, OPERATOR = 64001, 64002

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="missing capability: root (to act as other users)")

ASK = """
import http.client, json, os, socket, sys
uid, path, method, target, body = int(sys.argv[1]), *sys.argv[2:]
os.chdir(os.path.dirname(path))  # a path from the root down need not be open to every user
os.setgroups([]); os.setgid(uid); os.setuid(uid)
c = http.client.HTTPConnection("x"); c.sock = socket.socket(socket.AF_UNIX); c.sock.connect(os.path.basename(path))
c.request(method, target, body or None)
a = c.getresponse()
print(json.dumps([a.status, json.loads(a.read())]))
"""


def ask(rig: ControlRig, uid: int, method: str, target: str, body: Any = None) -> tuple[int, Any]:
    """Make one request as another user."""
    text = "" if body is None else json.dumps(body)
    argv = [sys.executable, "-c", ASK, str(uid), str(rig.socket), method, target, text]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=30, cwd="/", env={})
    status, answer = json.loads(done.stdout)
    return status, answer


@pytest.fixture
def guarded(water_works: str) -> Iterator[ControlRig]:
    """A control plane with a viewer and an operator, in a directory that every local user may enter."""
    base = Path(tempfile.mkdtemp(prefix="conduit-roles-"))
    rig = ControlRig(base, water_works, roles=f'viewer = ["uid:{VIEWER}"]\noperator = ["gid:{OPERATOR}"]')
    try:
        rig.start()
        yield rig
    finally:
        rig.stop()
        shutil.rmtree(base)


def _control_events(rig: ControlRig) -> list[dict[str, Any]]:
    return [event for event in rig.get("/v1/events?type=control&limit=4096")["events"] if event["action"] == "access"]


def test_stranger_is_refused_and_recorded(guarded: ControlRig) -> None:
    """A user without a role gets 403 and a hint; the attempt is an event and a journal entry."""
    status, body = ask(guarded, STRANGER, "GET", "/v1/status")
    assert (status, body["code"]) == (403, "not_permitted")
    found = wait_for("the event", lambda: _control_events(guarded))
    assert f"({STRANGER})" in found[0]["who"]
    entries = guarded.get("/v1/journal?verify=1")
    assert any(
        e["action"] == "access" and e["uid"] == STRANGER and e["result"] == "refused" for e in entries["entries"]
    )
    assert entries["broken_at"] is None


def test_viewer_reads_and_sets_no_stage(guarded: ControlRig) -> None:
    """A viewer sees status and may not set a stage: nothing changes, and the attempt is recorded."""
    assert ask(guarded, VIEWER, "GET", "/v1/status")[0] == 200
    status, body = ask(guarded, VIEWER, "PUT", "/v1/stages", {"stage": "enforce"})
    assert (status, body["code"]) == (403, "role_too_low")
    assert guarded.ceiling() is Stage.MONITOR
    assert wait_for("the event", lambda: _control_events(guarded))[0]["request"] == "PUT /v1/stages"


def test_operator_quarantines_and_applies_nothing(guarded: ControlRig) -> None:
    """A group's role counts: an operator may quarantine, but neither set stages nor apply a policy."""
    body = {"target": "office-laptop", "reason": "beaconing"}
    assert ask(guarded, OPERATOR, "POST", "/v1/quarantine", body)[0] == 200
    assert ask(guarded, OPERATOR, "PUT", "/v1/stages", {"stage": "enforce"})[0] == 403
    assert ask(guarded, OPERATOR, "POST", "/v1/policy", {"text": "version: 1"})[0] == 403
    assert ask(guarded, OPERATOR, "GET", "/v1/journal")[0] == 403


def test_command_line_exit_code_of_a_stranger(guarded: ControlRig) -> None:
    """`conduitctl` ends with 6 when the user may not, and says so on stderr."""
    try:
        subprocess.run(["true"], user=STRANGER, group=STRANGER, extra_groups=[], check=True)
    except PermissionError:
        pytest.skip("missing capability: other users cannot enter this file system's root, so they run no program")
    script = (
        "import os,sys; os.setgroups([]); os.setgid(65534); from gateway.cli.main import app; os.setuid(65534); app()"
    )
    argv = [sys.executable, "-c", script, "--socket", str(guarded.socket), "status"]
    environment = {"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]}
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False, env=environment, cwd=Path("/"))
    assert done.returncode == 6, done.stderr
    assert "no role here" in done.stderr
