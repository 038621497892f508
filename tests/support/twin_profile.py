"""The slow twin of a profile: docs/reference/semantics.md, "Inspection", word by word, over plain accesses.

In: a `ProfileRecord`, and segments of accesses as `fastpath.profiles` takes them. Out: the first reason of each. Shares
no code with the engine and remembers everything: no hash, no bound but those that semantics.md names.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fastpath.abi import FIELD_NAMES, Operation, Protocol, Reason

if TYPE_CHECKING:
    from rules.records import ClauseRecord, ProfileRecord

Access = dict[str, Any]
Place = tuple[Any, ...]
MOST_VALUES = 256
CONNECT = 14  # COTP's TPDU type
MOST_COMPARISONS = 524_288
RATE_COMPARISONS = 32
COILS, REGISTERS = (5, 15), (6, 16, 22, 23)


@dataclass
class TwinProfile:
    """One conduit's profile; clocks by what a clause says, values by place."""

    profile: ProfileRecord
    clocks: dict[ClauseRecord, int] = field(default_factory=dict)
    values: dict[Place, int | None] = field(default_factory=dict)
    turns: list[ClauseRecord] = field(default_factory=list)
    held: list[tuple[Place, int | None]] = field(default_factory=list)
    compared: int = 0
    unheld: bool = False  # something was written that could not be held for want of comparisons

    def judge(self, accesses: list[Access], now_ns: int, *, enforced: bool = True) -> Reason:
        """Judge one segment."""
        self.turns, self.held, self.compared, self.unheld = [], [], 0, False
        first = Reason.NONE
        for access in accesses:
            if enforced and first:
                break
            reason = self._access(access, now_ns)
            first = first or reason
        if first is Reason.NONE and (self.unheld or len(self.held) > MOST_VALUES):
            first = Reason.MESSAGE_BUDGET
        if first is Reason.NONE:
            for clause in self.turns:
                self.clocks[clause] = max(self.clocks.get(clause, 0), now_ns) + clause.rate_interval_ns
        if first is Reason.NONE or not enforced:
            self.values |= dict(self.held)
        return first

    def _access(self, access: Access, now_ns: int) -> Reason:
        operation = access["operation"]
        refused = operation is Operation.WRITE and access["fields"].get("exception", 0) != 0
        if operation is Operation.NONE:
            return self._connect(access, now_ns)
        if access.get("answer"):
            if operation is Operation.READ or refused:
                self._hold(access, refused=refused)
            return Reason.NONE
        reason = Reason.NONE
        if operation not in self.profile.operations:
            reason = Reason.MESSAGE_OPERATION
        elif self.profile.constrained:
            reason = self._clauses(access, now_ns)
        if operation is Operation.WRITE:
            self._hold(access, refused=False)
        return reason

    def _connect(self, access: Access, now_ns: int) -> Reason:
        """A connect is compared with clauses about COTP where there are some; nothing else without operation is."""
        connects = access["protocol"] is Protocol.COTP and access["fields"].get("type") == CONNECT
        asked = connects and any(clause.protocol is Protocol.COTP for clause in self.profile.clauses)
        return self._clauses(access, now_ns) if asked and not access.get("answer") else Reason.NONE

    def _clauses(self, access: Access, now_ns: int) -> Reason:
        found = [Reason.MESSAGE_CONSTRAINT]
        for clause in self.profile.clauses:
            if self.compared >= MOST_COMPARISONS:
                return Reason.MESSAGE_BUDGET
            reason = self._clause(clause, access, now_ns)
            if reason is Reason.NONE:
                return reason
            found.append(reason)
        return next((reason for reason in found if reason is not Reason.MESSAGE_CONSTRAINT), found[0])

    def _clause(self, clause: ClauseRecord, access: Access, now_ns: int) -> Reason:
        self.compared += 1
        if clause.protocol is not access["protocol"] or access["operation"] not in clause.operations:
            return Reason.MESSAGE_CONSTRAINT
        self.compared += len(clause.ranges)
        outside = outside_of(clause, access)
        if outside:
            return Reason.PROCESS_VALUE if outside == {"value"} else Reason.MESSAGE_CONSTRAINT
        if access.get("partial"):
            return Reason.NONE
        if clause.step and not self._small_step(clause, access):
            return Reason.PROCESS_STEP
        if clause.rate_interval_ns:
            self.compared += RATE_COMPARISONS
            count = self.turns.count(clause) + 1
            ahead = max(self.clocks.get(clause, 0), now_ns) + count * clause.rate_interval_ns
            if ahead > now_ns + clause.rate_burst_ns:
                return Reason.PROCESS_RATE
            self.turns.append(clause)
        return Reason.NONE

    def _small_step(self, clause: ClauseRecord, access: Access) -> bool:
        if "values" not in access:
            return False
        known = self.values | dict(self.held)
        for place, value in values_of(access):
            last = known.get(place)
            if last is None or abs(value - last) > clause.step:
                return False
        return True

    def _hold(self, access: Access, *, refused: bool) -> None:
        if access.get("partial") or ("values" not in access and not refused):
            return
        if not any(clause.step for clause in self.profile.clauses):
            return
        for clause in self.profile.clauses:
            if self.compared >= MOST_COMPARISONS:
                self.unheld = self.unheld or not access.get("answer")
                return
            self.compared += 1 + len(clause.ranges) * (clause.step > 0 and clause.protocol is access["protocol"])
        told = access.get("recalled", {}) | access["fields"]
        for place, value in [(place_of(told, 0), None)] if refused else values_of(access):
            guarded = {"unit": place[0], "address": place[2]} | ({"file": place[3]} if place[3] is not None else {})
            for clause in self.profile.clauses:
                known = {name: number for name, number in guarded.items() if number is not None}
                if clause.step and all(inside(clause, name, number, number) for name, number in known.items()):
                    self.held.append((place, value))
                    break


def outside_of(clause: ClauseRecord, access: Access) -> set[str]:
    """Return the fields in which an access does not match a clause."""
    outside = set()
    for name in {FIELD_NAMES[clause.protocol][span.field] for span in clause.ranges}:
        if name not in access["fields"]:
            if not access.get("partial"):
                outside.add("missing")
        elif not inside(clause, name, *ends(access["fields"][name])):
            outside.add(name)
    return outside


def ends(value: Any) -> tuple[int, int]:
    """Return both ends of a number or a range."""
    return value if isinstance(value, tuple) else (value, value)


def inside(clause: ClauseRecord, name: str, low: int, high: int) -> bool:
    """Tell whether one range of the field holds all of it, or the clause says nothing of the field."""
    index = FIELD_NAMES[clause.protocol].index(name)
    spans = [span for span in clause.ranges if span.field == index]
    return not spans or any(span.low <= low and high <= span.high for span in spans)


def place_of(told: dict[str, Any], index: int) -> Place:
    """Return where a register is: unit, table, address, file."""
    function = ends(told["function"])[0]
    table = 1 if function in COILS else 3 if function in REGISTERS else function
    return told.get("unit"), table, ends(told["address"])[0] + index, told.get("file")


def values_of(access: Access) -> list[tuple[Place, int]]:
    """Return the places and values of an access's registers."""
    told = access.get("recalled", {}) | access["fields"]
    words = access["values"]
    assert access["protocol"] is Protocol.MODBUS
    return [(place_of(told, at // 2), int.from_bytes(words[at : at + 2], "big")) for at in range(0, len(words) - 1, 2)]
