"""Messages made from a grammar, right ones and ones with exactly one thing wrong.

A protocol's grammar is a module tests/fuzz/grammar_NAME.py with two functions of a seeded random generator: `right`
returns a message that the protocol's own clauses allow, `wrong` one that they do not, with the rule that it breaks.
Both are requests, or answers after the request that asked for them. The inspector must take every right one and none
of the wrong ones. In: a grammar. Out: what it took or refused against that.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from fastpath.abi import Reason
from fastpath.dissect import Dissection

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastpath.abi import Inspector


class Made(NamedTuple):
    """One message; `asked` are the requests that the other end must have sent before it."""

    message: bytes
    from_opener: bool = True
    asked: tuple[bytes, ...] = ()
    broken: str = ""  # the rule that the message breaks; empty: none


@dataclass
class GrammarResult:
    """How many messages were tried, by rule, and which got the wrong answer."""

    right: int = 0
    wrong: int = 0
    by_rule: Counter[str] = field(default_factory=Counter)
    taken: list[str] = field(default_factory=list)  # wrong, and taken
    refused: list[str] = field(default_factory=list)  # right, and refused


def verdict(inspector: Inspector, made: Made) -> Reason:
    """Return what an inspector says of a message: refused also when it takes it for an unfinished one."""
    dissection = Dissection(inspector)
    for request in made.asked:
        asked, _ = dissection.messages(request, True)
        if not asked or any(reason is not Reason.NONE for _, _, reason, _ in asked):
            return Reason.NONE if made.broken else Reason.MESSAGE_ANSWER  # the grammar is wrong: let it show
    found, left = dissection.messages(made.message, made.from_opener)
    reasons = [reason for _, _, reason, _ in found if reason is not Reason.NONE]
    if reasons:
        return reasons[0]
    return Reason.MESSAGE_MALFORMED if left else Reason.NONE


def try_grammar(
    inspector: Inspector,
    right: Callable[[random.Random], Made],
    wrong: Callable[[random.Random], Made],
    count: int,
    seed: int,
) -> GrammarResult:
    """Try so many wrong messages, and one right one for every ten of them."""
    result, rng = GrammarResult(), random.Random(seed)
    for index in range(count):
        made = wrong(rng)
        result.wrong += 1
        result.by_rule[made.broken] += 1
        if verdict(inspector, made) is Reason.NONE:
            result.taken.append(f"{made.broken}: {made.message.hex()} from_opener={made.from_opener}")
        if index % 10 == 0:
            fine = right(rng)
            result.right += 1
            if (reason := verdict(inspector, fine)) is not Reason.NONE:
                result.refused.append(f"{reason.name}: {fine.message.hex()} from_opener={fine.from_opener}")
    return result
