"""Messages and rows side by side: which are equal, and what differs.

In: a capture's path, a protocol and who reads it (the inspectors or `conduitctl decode`: the same lines). Out: counts
and the differences. A row is matched with a message of the same frame that has equal fields; what remains differs.
CIP is compared by whole encapsulated messages: services, directions and statuses must be the very same lists; class,
instance and attribute of requests must appear in Wireshark's list in their order, which may hold more (the segments of
connection and route paths, the attributes in a request's data).
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.truth.rows import COLUMNS, SUFFIX, Row, rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    Fields = dict[str, Any]
    Reader = Callable[[Path, str], Iterable[dict[str, Any]]]


class Difference(NamedTuple):
    """A row that no message equals; `ours` is what was read in that frame and equals no other row."""

    capture: str
    frame: int
    theirs: dict[str, Any]
    ours: list[dict[str, Any]]


@dataclass
class Comparison:
    """What became of the rows of one protocol."""

    rows: int = 0
    equal: int = 0
    malformed: int = 0  # rows that Wireshark itself calls malformed: counted apart, in neither of the two above
    malformed_equal: int = 0
    beyond: int = 0  # messages that equal no row
    differences: list[Difference] = field(default_factory=list)

    @property
    def share(self) -> float:
        """Return the agreement on rows that are well-formed, 1.0 where there are none."""
        return self.equal / self.rows if self.rows else 1.0

    def add(self, other: Comparison) -> None:
        """Count another capture's comparison in."""
        self.rows += other.rows
        self.equal += other.equal
        self.malformed += other.malformed
        self.malformed_equal += other.malformed_equal
        self.beyond += other.beyond
        self.differences += other.differences


def truth_of(capture: Path) -> Path:
    """Return where Wireshark's rows of a capture stand."""
    return capture.with_name(capture.name.rsplit(".", 1)[0] + SUFFIX)


def compare(capture: Path, protocol: str, messages: Reader) -> Comparison:
    """Compare one capture."""
    by_frame: dict[int, list[Fields]] = defaultdict(list)
    for frame, mine in _mine(messages(capture, protocol), protocol):
        by_frame[frame].append(mine)
    result = Comparison()
    name = f"{capture.parent.name}/{capture.name}"
    unmatched: list[Row] = []
    for row in rows(truth_of(capture), protocol):
        found = next((one for one in by_frame[row.frame] if same(protocol, row.fields, one)), None)
        if row.malformed:
            result.malformed += 1
            result.malformed_equal += found is not None
        else:
            result.rows += 1
            result.equal += found is not None
        if found is None:
            unmatched.append(row)
        else:
            by_frame[row.frame].remove(found)
    result.differences = [
        Difference(name, row.frame, row.fields | ({"malformed": True} if row.malformed else {}),
                   list(by_frame[row.frame]))
        for row in unmatched
    ]  # fmt: skip
    result.beyond = sum(map(len, by_frame.values()))
    return result


def same(protocol: str, theirs: dict[str, Any], ours: dict[str, Any]) -> bool:
    """Tell whether a message says what a row says."""
    if protocol != "cip":
        return theirs == ours
    exactly = all(theirs[name] == ours[name] for name in ("service", "response", "status"))
    return exactly and all(in_order(ours[name], theirs[name]) for name in ("class", "instance", "attribute"))


def in_order(some: list[int], all_of_them: list[int]) -> bool:
    """Tell whether the numbers of one list stand in the other in the same order."""
    remaining = iter(all_of_them)
    return all(number in remaining for number in some)


def _mine(found: Iterable[dict[str, Any]], protocol: str) -> Iterable[tuple[int, Fields]]:
    if protocol == "cip":
        return _embedding(found)
    return (
        (message["frame"], {name: message["fields"][name] for name in COLUMNS[protocol]})
        for message in found
        if message["protocol"] == protocol
    )


def _embedding(found: Iterable[dict[str, Any]]) -> Iterable[tuple[int, Fields]]:
    """Gather the CIP messages of each encapsulated message: those that follow it at growing depth."""
    gathered: list[tuple[int, list[dict[str, Any]]]] = []
    for message in found:
        if message["protocol"] == "enip":
            gathered.append((message["frame"], []))
        elif message["protocol"] == "cip" and gathered:
            assert (message["fields"]["depth"] == 0) == (not gathered[-1][1]), f"depth of {message}"
            gathered[-1][1].append(message)
    for frame, parts in gathered:
        if not parts:
            continue
        fields: dict[str, list[int]] = {"service": [part["fields"]["service"] for part in parts]}
        fields["response"] = [int(part["fields"]["response"]) for part in parts]
        for name in ("class", "instance", "attribute", "status"):
            wanted = [part for part in parts if bool(part["fields"]["response"]) == (name == "status")]
            fields[name] = [part["fields"][name] for part in wanted if part["fields"][name] is not None]
        yield frame, fields
