"""A decision tape → evidence, judged anew by the policy at hand: an old tape counts for today's inventory.

In: a compiled policy, observations. Out: `Evidence`. What was spoofed, broken or quarantined then and can't be asked
again stays what it was; a reply is evidence for what it answers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fastpath.abi import Reason
from gateway.errors import ConfigError
from gateway.learning.ends import ECHO_REPLY, NEIGHBOUR_DISCOVERY, number_of, pair_of
from gateway.simulate.words import Said
from gateway.tape.replay import Replayed, TapeReplay
from gateway.tape.sight import ACCEPT, ICMP6
from rules.learning.evidence import Evidence, Number, Pair, Seen

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.tape.sight import Sight
    from gateway.tape.store import Observation
    from rules.compile import Compiled

_NS: Final = 1_000_000_000
_NEVER_A_REPLY: Final = ("IDENTITY_", "FRAME_", "GUARD_")
Ends = tuple[str, str, Number]  # addresses of who asked and who was asked


def evidence(compiled: Compiled, observations: Iterable[Observation]) -> list[Evidence]:
    """Return what a tape says of a policy."""
    found: list[Evidence] = []
    replies: list[Replayed] = []
    pairs: dict[Ends, Pair] = {}
    for row in TapeReplay(compiled).run(observations):
        sight = row.sight
        number = number_of(sight.ethertype, sight.protocol, sight.number)
        if _is_reply(sight, number):
            replies.append(row)
            continue
        one = _opening(row, number)
        pairs[sight.source, sight.destination, number] = one.pair
        found.append(one)
    return found + [_reply(row, pairs) for row in replies]


def _is_reply(sight: Sight, number: Number) -> bool:
    return bool(sight.reply or number in ECHO_REPLY) and not sight.reason.startswith(_NEVER_A_REPLY)


def _opening(row: Replayed, number: Number) -> Evidence:
    sight = row.sight
    said = row.said or _then(sight)
    quarantined = sight.reason == Reason.GUARD_QUARANTINE.name
    reason = Reason.GUARD_QUARANTINE if quarantined else _reason(str(said.reason))
    if row.said is None and sight.protocol == ICMP6 and sight.number in NEIGHBOUR_DISCOVERY:
        reason = Reason.NEIGHBOUR_NO_CONDUIT if reason is Reason.POLICY_NO_CONDUIT else reason
    return Evidence(
        pair_of(said, sight.source, sight.destination), number, reason, _seen(row),
        passed=sight.verdict == ACCEPT, conduit=said.conduit, source_mac=sight.source_mac,
    )  # fmt: skip


def _reply(row: Replayed, pairs: dict[Ends, Pair]) -> Evidence:
    sight = row.sight
    number = number_of(sight.ethertype, sight.protocol, sight.number)
    number = ECHO_REPLY.get(number, number)
    pair = pairs.get((sight.destination, sight.source, number))
    if pair is None:  # nobody was seen asking: by the names of then
        answer = pair_of(_then(sight), sight.source, sight.destination)
        pair = Pair(answer.destination, answer.source)
    return Evidence(pair, number, _reason(sight.reason), _seen(row), reply=True)


def _reason(name: str) -> Reason:
    try:
        return Reason[name]
    except KeyError as error:
        hint = "is it of a newer gateway?"
        raise ConfigError("tape_format", f"the tape has a reason {name!r} that is not known here", hint) from error


def _then(sight: Sight) -> Said:
    """Return what was said when it was seen."""
    return Said(
        sight.verdict, sight.policy_verdict, sight.reason, sight.stage or None, sight.conduit or None,
        sight.source_zone, sight.destination_zone, sight.source_asset or None, sight.destination_asset or None,
        sight.service or None,
    )  # fmt: skip


def _seen(row: Replayed) -> Seen:
    total = row.sum
    slots = frozenset(slot // _NS for slot in row.slots)
    return Seen(total.first_ns, total.last_ns, total.frames, total.flows, slots)
