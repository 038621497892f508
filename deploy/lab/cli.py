"""The lab by hand: what `conduitctl lab up|down|exec|status` calls.

In: a lab name and what to do. Out: plain values for the command line to print, the exit status of an executed command.
Raises LabError with a remedy; must never print. The plant's programs are started along with the namespaces.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from deploy.lab import namespaces, plant, processes
from deploy.lab.actors import Actors
from deploy.lab.gateway import LabGateway
from deploy.lab.topology import Lab

if TYPE_CHECKING:
    from collections.abc import Sequence

DEFAULT_NAME: Final = "cg"
CONTROLLERS: Final = ("plc-1", "plc-2", "safety-plc")
POLLERS: Final = (("hmi-1", "plc-1"), ("hmi-2", "plc-2"))


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """One node: where it lives, its addresses, how many processes run in it."""

    node: str
    namespace: str
    zone: str
    ip4: str
    mac: str
    processes: int


def up(name: str = DEFAULT_NAME, *, gateway: bool = True, plain: bool = False) -> list[NodeStatus]:
    """Build the lab and start its plant behind conduitd, behind a plain bridge, or behind nothing yet."""
    lab = Lab(name)
    if lab.is_up:
        return status(name)
    try:
        lab.up()
        if plain:
            lab.plain_bridge()
        elif gateway:
            LabGateway(lab).start()
        _start_plant(lab, polled=plain or gateway)
    except BaseException:
        lab.down()
        raise
    return status(name)


def down(name: str = DEFAULT_NAME) -> bool:
    """Take the lab down completely; return whether there was anything to take down."""
    lab = Lab(name)
    existed = lab.directory.exists()
    lab.down()
    return existed


def exec_(node: str, argv: Sequence[str], name: str = DEFAULT_NAME) -> int:
    """Run a command on a node with this terminal; return its exit status."""
    lab = _standing(name)
    command = namespaces.inside(lab.namespace(node), argv)
    return subprocess.run(command, check=False, env=processes.environment()).returncode


def status(name: str = DEFAULT_NAME) -> list[NodeStatus]:
    """Return every node of a standing lab."""
    lab = _standing(name)
    known = {host.name: host for host in plant.HOSTS}
    rows = []
    for node in lab.nodes():
        host = known.get(node)
        zone, ip4, mac = (host.zone, host.ip4, host.mac) if host else ("", "", "")
        namespace = lab.namespace(node)
        rows.append(NodeStatus(node, namespace, zone, ip4, mac, len(namespaces.pids(namespace))))
    return rows


def _start_plant(lab: Lab, *, polled: bool) -> None:
    actors = Actors(lab)
    for controller in CONTROLLERS:
        actors.start_controller(controller)
    for station, controller in POLLERS if polled else ():
        actors.start_poller(station, controller)


def _standing(name: str) -> Lab:
    lab = Lab(name)
    if not lab.is_up:
        raise namespaces.LabError(f"lab {name!r} is not up; bring it up with: conduitctl lab up")
    return lab
