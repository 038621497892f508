"""Who a peer of the control socket is and what it may do.

In: the kernel's word about the peer (uid, gid, groups of SO_PEERCRED and SO_PEERGROUPS) and `settings.roles`. Out: the
highest role that any of them maps to, or None. Root is admin. Names are resolved at each connection, so that a user
added to a group is known without a restart. Must never trust anything that the peer itself says.
"""

from __future__ import annotations

import errno
import grp
import os
import pwd
import socket
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final

from gateway.control.journal import Actor

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SO_PEERGROUPS: Final = 59  # asm-generic/socket.h; Python has no name for it
_GROUPS_BYTES: Final = 1024  # the most that Python's getsockopt takes: 256 gids
_UCRED: Final = struct.Struct("3i")  # struct ucred: pid, uid, gid


class Rank(IntEnum):
    """Roles in order: each may do all that the ones below may. `approver` only reads until approvals exist."""

    VIEWER = 1
    OPERATOR = 2
    ENGINEER = 3
    ADMIN = 4


@dataclass(frozen=True, slots=True)
class Peer:
    """The process at the other end of a connection, as the kernel names it."""

    pid: int
    uid: int
    gids: frozenset[int]


@dataclass(frozen=True, slots=True)
class Operator:
    """A peer with a role."""

    peer: Peer
    user: str
    rank: Rank

    @property
    def actor(self) -> Actor:
        """Return it as the journal names it."""
        return Actor(self.peer.uid, self.user, self.rank.name.lower())


def peer_of(connection: Any) -> Peer:
    """Return the peer of a connected Unix socket. Raises OSError when it is none."""
    pid, uid, gid = _UCRED.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    return Peer(pid, uid, frozenset((gid, *_groups_of(connection, uid, gid))))


def _groups_of(connection: Any, uid: int, gid: int) -> Sequence[int]:
    """Return the peer's groups; a user with more than fit into one answer has those that the host's database lists."""
    try:
        raw = connection.getsockopt(socket.SOL_SOCKET, SO_PEERGROUPS, _GROUPS_BYTES)
    except OSError as error:
        if error.errno != errno.ERANGE:
            raise
        return os.getgrouplist(user_name(uid), gid)
    return struct.unpack(f"{len(raw) // 4}I", raw)


def user_name(uid: int) -> str:
    """Return the name of a uid, or its number when it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _matches(principal: str, peer: Peer) -> bool:
    kind, _, value = principal.partition(":")
    try:
        if kind == "uid":
            return int(value) == peer.uid
        if kind == "gid":
            return int(value) in peer.gids
        if kind == "user":
            return pwd.getpwnam(value).pw_uid == peer.uid
        return grp.getgrnam(value).gr_gid in peer.gids
    except KeyError:
        return False  # a name this host does not know names nobody


def operator_of(peer: Peer, roles: Mapping[Any, Sequence[str]]) -> Operator | None:
    """Return the peer with its highest role; None when no role names it."""
    if peer.uid == 0:
        return Operator(peer, user_name(0), Rank.ADMIN)
    ranks = [
        Rank.VIEWER if role == "approver" else Rank[str(role).upper()]
        for role, principals in roles.items()
        if any(_matches(principal, peer) for principal in principals)
    ]
    return Operator(peer, user_name(peer.uid), max(ranks)) if ranks else None
