"""The demonstration's own promises: it says when it is offline, it fails loudly, it cleans up."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from deploy.demo import ability, offline
from deploy.demo.narrator import Narrator, StoryError
from deploy.lab import processes
from deploy.lab.gateway import LabGateway
from deploy.lab.namespaces import NETNS_DIR, LabError
from deploy.lab.topology import RUN_DIR, Lab
from tests.support.capability import require

if TYPE_CHECKING:
    from fastpath.abi import Stage

WITHIN_S = 60.0


@pytest.fixture
def told() -> io.StringIO:
    """What the narrator printed."""
    return io.StringIO()


@pytest.fixture
def narrator(told: io.StringIO) -> Narrator:
    """A narrator that writes into a text."""
    return Narrator(Console(file=told, width=110, force_terminal=False))


def test_offline_story_is_labelled() -> None:
    """The offline story ends with 0 and says in its title, its headings and its last line that it is offline."""
    argv = [sys.executable, "-m", "deploy.demo", "--offline"]
    done = subprocess.run(
        argv,
        capture_output=True,
        text=True,
        check=False,
        timeout=WITHIN_S,
        env=processes.environment(),
        cwd=processes.PROJECT_ROOT,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [line for line in done.stdout.splitlines() if line.strip()]
    assert "OFFLINE" in lines[0]
    headings = [line for line in lines if line[:1].isdigit()]
    assert headings
    assert all("OFFLINE" in line for line in headings)
    assert lines[-1].startswith("OFFLINE story complete")


def test_offline_story_can_fail(narrator: Narrator, told: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that would not enforce is found out: the story ends with 1 and names the statement."""

    def forget(_desk: offline.Desk, _stage: Stage) -> None:
        """Leave the ceiling where it is."""

    monkeypatch.setattr(offline.Desk, "set_ceiling", forget)
    assert offline.play(narrator, "a test asked for it") == 1
    assert "FAILED" in told.getvalue()
    assert "the attacker's frame: drop" in told.getvalue()


def test_false_statement_is_never_softened(narrator: Narrator) -> None:
    """A statement that does not hold raises with its scene and its proof, and is not counted."""
    narrator.scene("A scene")
    with pytest.raises(StoryError, match=r"scene 1 .*: it holds: register 7"):
        narrator.check("it holds", False, "register 7")
    assert narrator.statements == []


def test_markup_in_proofs_is_text(narrator: Narrator, told: io.StringIO) -> None:
    """Brackets in a proof are printed, not taken for markup."""
    narrator.check("a list", True, "[1, 2] [bold]")
    assert "[1, 2] [bold]" in told.getvalue()


def test_denial_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without root the live story is denied, in words."""
    monkeypatch.setattr(os, "geteuid", lambda: 65534)
    assert "root" in (ability.denied() or "")


def test_missing_command_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing program is named together with the packages that bring it."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("PATH", "/nonexistent")
    assert "apt-get install" in (ability.denied() or "")


@pytest.mark.netns
def test_ability_leaves_nothing() -> None:
    """The probe for the live story leaves no namespace behind and permits it here."""
    require("nfqueue")
    assert ability.denied() is None
    assert not (NETNS_DIR / f"cgprobe{os.getpid()}").exists()


@pytest.mark.netns
def test_interrupt_cleans_up() -> None:
    """Ctrl-C in the middle of the live story ends it with 130 and leaves no namespace, directory or process."""
    require("nfqueue")
    argv = [sys.executable, "-u", "-m", "deploy.demo"]
    with subprocess.Popen(
        argv, stdout=subprocess.PIPE, text=True, env=processes.environment(), cwd=processes.PROJECT_ROOT
    ) as demo:
        assert demo.stdout is not None
        heard = next((line for line in demo.stdout if "2. Monitor" in line), None)
        name = f"cgd{demo.pid % 1_000_000}"
        assert heard, "the story ended before its second scene"
        assert (NETNS_DIR / f"{name}-gw").exists()
        demo.send_signal(signal.SIGINT)
        demo.communicate(timeout=WITHIN_S)
    assert demo.returncode == 130
    assert not list(NETNS_DIR.glob(f"{name}-*"))
    assert not (RUN_DIR / f"conduit-lab-{name}").exists()


@pytest.mark.netns
def test_daemon_that_cannot_start_is_reported(lab_name: str) -> None:
    """A daemon that refuses its settings ends the wait at once, with its own words in the error."""
    require("nfqueue")
    with Lab(lab_name) as lab:
        gateway = LabGateway(lab)
        gateway.settings.write_text("no_such_key = 1\n")
        with pytest.raises(LabError, match="no_such_key"):
            gateway.start()
