"""The lab comes up, goes down without a trace, and is the plant that the example policy describes."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from deploy.lab import namespaces, plant, processes
from deploy.lab.namespaces import LabError
from deploy.lab.topology import GATEWAY, PLAIN_BRIDGE, Lab

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.netns


def left_over(name: str) -> list[str]:
    """Return the namespaces that carry a lab's name."""
    folder = namespaces.NETNS_DIR
    return [path.name for path in folder.iterdir() if path.name.startswith(f"{name}-")] if folder.exists() else []


def test_up_and_down_leave_nothing(lab_name: str) -> None:
    """After `down` no namespace, process or directory of the lab is left."""
    lab = Lab(lab_name)
    lab.up()
    assert lab.is_up
    assert len(left_over(lab_name)) == len(lab.nodes())
    process = lab.start("hmi-1", ["sleep", "60"])
    lab.down()
    process.wait(5)
    assert left_over(lab_name) == []
    assert not lab.directory.exists()


def test_up_twice_is_up_once(lab_name: str) -> None:
    """A second `up` keeps what stands: a process started in between lives on."""
    lab = Lab(lab_name)
    lab.up()
    process = lab.start("hmi-1", ["sleep", "60"])
    Lab(lab_name).up()
    assert process.poll() is None
    lab.down()
    process.wait(5)


def test_half_a_lab_is_rebuilt(lab_name: str) -> None:
    """`up` after somebody deleted a namespace builds a complete lab again."""
    lab = Lab(lab_name)
    lab.up()
    namespaces.delete(lab.namespace("plc-1"))
    assert not lab.is_up
    lab.up()
    assert lab.is_up


def test_down_after_a_failed_up(lab_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lab that fails while it is built is removed completely."""
    lab = Lab(lab_name)

    def fail(_host: plant.LabHost) -> None:
        raise LabError("cut short")

    monkeypatch.setattr(lab, "_address", fail)
    with pytest.raises(LabError, match="cut short"), lab:
        pytest.fail("must not come up")
    assert left_over(lab_name) == []
    assert not lab.directory.exists()


def test_foreign_namespace_is_respected(lab_name: str) -> None:
    """A namespace that the lab did not make is neither used nor deleted."""
    foreign = f"{lab_name}-gw"
    namespaces.create(foreign)
    try:
        with pytest.raises(LabError, match="did not make"):
            Lab(lab_name).up()
        Lab(lab_name).down()
        assert namespaces.exists(foreign)
    finally:
        namespaces.delete(foreign)


@pytest.mark.parametrize("name", ["", "UPPER", "1abc", "far-too-long-a-name", "a/b"])
def test_bad_name_is_refused(name: str) -> None:
    """A name that does not fit namespaces or paths is refused before anything is made."""
    with pytest.raises(LabError, match="lab name"):
        Lab(name)


def test_a_recycled_pid_is_spared(tmp_path: Path) -> None:
    """A recorded pid whose start time differs belongs to somebody else now and is not signalled."""
    bystander = subprocess.Popen(["sleep", "60"])
    try:
        folder = tmp_path / "processes"
        folder.mkdir()
        (folder / str(bystander.pid)).write_text("1")
        processes.end_all(tmp_path, [])
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_addresses_are_the_policys() -> None:
    """Every host's MAC and addresses, and every zone's port, stand in the example policy."""
    text = (processes.PROJECT_ROOT / "rules" / "examples" / "water-works.yaml").read_text()
    for host in plant.HOSTS:
        entry = re.search(rf"^  {host.name}:\n(?:    .*\n)+", text, re.MULTILINE)
        assert entry, f"{host.name} is not in the policy"
        for fact in (f"zone: {host.zone}\n", host.mac, f"{host.ip4},", f'"{host.ip6}"'):
            assert fact in entry.group(), f"{host.name}: {fact}"
    for zone in plant.ZONES:
        entry = re.search(rf"^  {zone.name}:\n(?:    .*\n)+", text, re.MULTILINE)
        assert entry, f"{zone.name} is not in the policy"
        assert f"ports: [{zone.port}]" in entry.group()


def test_plain_bridge_holds_every_port(plain_lab: Lab) -> None:
    """The control case's bridge has exactly the zones' ports."""
    shown = plain_lab.run(GATEWAY, ["ip", "-o", "link", "show", "master", PLAIN_BRIDGE]).stdout
    assert {line.split()[1].partition("@")[0] for line in shown.splitlines()} == set(plant.PORTS)
