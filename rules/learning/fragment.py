"""What was learned as a fragment of a policy: YAML for people to read, change and confirm.

In: `Learned`, the day, where it was learned from. Out: text with the conduits and the services that they need, above
each conduit what was seen, when and by whom, and how sure one may be; behind them, as comments, what was withheld
and lines for the inventory. Must never write what was withheld as anything but a comment.
"""

from __future__ import annotations

import io
import textwrap
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.scalarint import HexInt
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from rules.learning.confidence import counted
from rules.learning.evidence import STRANGER
from rules.learning.sifting import Why
from rules.learning.trial import selectors

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rules.learning.evidence import Seen
    from rules.learning.grouping import Block
    from rules.learning.proposing import Learned, Proposal
    from rules.learning.sifting import Withheld

REVIEW_DAYS: Final = 30
WIDTH: Final = 110  # of comments
PAIRS_SHOWN: Final = 8
WITHHELD_SHOWN: Final = 200
# Words that one YAML or another takes for something else.
_TAKEN_WORDS: Final = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf"})


@dataclass(frozen=True, slots=True)
class Accepting:
    """What whoever accepts proposals says of all of them."""

    today: date
    source: str  # where it was learned from
    stage: str = "monitor"
    owner: str = "to be confirmed"

    @property
    def review(self) -> date:
        """The day by which somebody confirms what was learned."""
        return self.today + timedelta(days=REVIEW_DAYS)


def fragment(learned: Learned, accepting: Accepting) -> str:
    """Return the text of a fragment."""
    root = CommentedMap()
    if learned.services:
        services = CommentedMap((name, _flow(_numbers(content))) for name, content in learned.services.items())
        root["services"] = services
    conduits = CommentedMap((_word(one.name), _conduit(one, accepting)) for one in learned.proposals)
    root["conduits"] = conduits
    for one in learned.proposals:
        conduits.yaml_set_comment_before_after_key(one.name, before="\n".join(_about(one)), indent=2)
    yaml = YAML()
    yaml.width = 4096
    yaml.indent(mapping=2, sequence=4, offset=2)
    out = io.StringIO()
    out.write(_comment(_head(learned, accepting)))
    yaml.dump(root, out)
    if not out.getvalue().endswith("\n"):
        out.write("\n")  # ruamel leaves a commented mapping's last line open
    out.write(_comment(_tail(learned)))
    return out.getvalue()


def _conduit(one: Proposal, accepting: Accepting) -> CommentedMap:
    source, destination = _sides(one.draft.block)
    found = CommentedMap([("from", source), ("to", destination), ("services", _words(one.services))])
    if one.draft.window:
        found["windows"] = _words([one.draft.window])
    found["stage"] = accepting.stage
    found["owner"] = accepting.owner
    found["reason"] = reason(one, accepting)
    found["review"] = accepting.review
    return found


def reason(one: Proposal, accepting: Accepting) -> str:
    """Return the reason that a learned conduit has until somebody gives the real one."""
    seen = one.draft.seen
    first, last = _day(seen.first_ns), _day(seen.last_ns)
    what = f"seen on {first}" if first == last else f"seen on {counted(seen.days, 'day')} from {first} to {last}"
    return f"Learned {accepting.today} from {accepting.source}, {what}; to be confirmed by {accepting.review}"


def _sides(block: Block) -> tuple[CommentedMap, CommentedMap]:
    source, destination = selectors(block)
    return _flow(source), _flow(destination)


def _flow(content: dict[str, Any]) -> CommentedMap:
    found = CommentedMap()
    for key, value in content.items():
        quoted = key in ("prefix", "group")
        if isinstance(value, list):
            found[key] = _words(value, quoted=quoted)
        else:
            found[key] = _word(value) if isinstance(value, str) else value
    found.fa.set_flow_style()
    return found


def _numbers(content: dict[str, Any]) -> dict[str, Any]:
    return {key: HexInt(value, width=4) if key == "ethertype" else value for key, value in content.items()}


def _words(values: Iterable[Any], *, quoted: bool = False) -> CommentedSeq:
    found = CommentedSeq(DoubleQuotedScalarString(value) if quoted else _word(value) for value in values)
    found.fa.set_flow_style()
    return found


def _word(value: Any) -> Any:
    return DoubleQuotedScalarString(value) if isinstance(value, str) and value.lower() in _TAKEN_WORDS else value


def _about(one: Proposal) -> Iterator[str]:
    """Yield the comment above a conduit."""
    draft = one.draft
    yield ""
    for text in (_often(draft.seen), *_by_whom(one), *_sure(one)):
        yield from textwrap.wrap(text, WIDTH, subsequent_indent="  ", break_on_hyphens=False)


def _often(seen: Seen) -> str:
    flows = f", {seen.flows:,} flows" if seen.flows else ""
    return f"Seen {_moment(seen.first_ns)} to {_moment(seen.last_ns)}: {seen.frames:,} frames{flows}"


def _by_whom(one: Proposal) -> Iterator[str]:
    rows = sorted(one.draft.traffic.items(), key=lambda row: (-row[1].seen.frames, row[0]))
    for (pair, number), traffic in rows[:PAIRS_SHOWN]:
        seen = traffic.seen
        yield f"  {pair}, {number}: {seen.frames:,} frames on {counted(seen.days, 'day')}, last {_moment(seen.last_ns)}"
    if len(rows) > PAIRS_SHOWN:
        yield f"  and {len(rows) - PAIRS_SHOWN} more"


def _sure(one: Proposal) -> Iterator[str]:
    sure = one.draft.confidence
    yield f"Confidence: {sure.level} ({'; '.join(sure.reasons)})"
    unseen = one.unseen
    text = f"Permits {counted(one.pairs, 'pair')} of which {len(unseen)} never seen"
    more = f" and {len(unseen) - PAIRS_SHOWN} more" if len(unseen) > PAIRS_SHOWN else ""
    yield f"{text}: {', '.join(unseen[:PAIRS_SHOWN])}{more}" if unseen else text
    if one.draft.window:
        yield f"Only ever seen while window '{one.draft.window}' was open"
    if one.replaces:
        yield f"Permitted today by {', '.join(one.replaces)}: remove that when this has taken its place"
    for note in one.notes:
        yield f"{note.code} ({note.severity.value}): {note.message}"


def _head(learned: Learned, accepting: Accepting) -> Iterator[str]:
    yield f"Learned on {accepting.today} from {accepting.source}, by `conduitctl learn`: not yet anybody's decision."
    yield "Read each conduit, give it its owner and reason, remove what the plant does not need, then name this file"
    yield f"under include: of the policy. Every conduit is to be confirmed by {accepting.review}."
    if learned.confirmed:
        yield f"Permit exactly what was seen already: {', '.join(learned.confirmed)}"
    if learned.unused:
        yield f"Carried nothing: {', '.join(learned.unused)}"


def _tail(learned: Learned) -> Iterator[str]:
    lines = list(inventory_lines(learned.withheld))
    if lines:
        yield ""
        yield "Addresses that the inventory lacks. Who is it? Then add it under assets: and learn again."
        yield from lines
    if learned.withheld:
        yield ""
        yield "Withheld:"
    for one in learned.withheld[:WITHHELD_SHOWN]:
        numbers = ", ".join(str(number) for number in one.numbers[:PAIRS_SHOWN])
        more = f" and {len(one.numbers) - PAIRS_SHOWN} more" if len(one.numbers) > PAIRS_SHOWN else ""
        code = f"{one.code}: " if one.code else ""
        yield f"{one.why}: {one.pair}, {numbers}{more}, {one.seen.frames:,} frames. {code}{one.detail}"
    if len(learned.withheld) > WITHHELD_SHOWN:
        yield f"and {len(learned.withheld) - WITHHELD_SHOWN} more"


def inventory_lines(withheld: Iterable[Withheld]) -> Iterator[str]:
    """Yield a line for each address that the policy does not know and that spoke or was spoken to."""
    found: dict[tuple[str, str], set[str]] = {}
    for one in withheld:
        if one.why is Why.UNKNOWN:
            for end in one.pair:
                if end.kind == STRANGER:
                    seen_with = one.macs if end is one.pair.source else ()
                    found.setdefault((end.name, end.zone), set()).update(seen_with)
    for (address, zone), macs in sorted(found.items()):
        is_mac = address.count(":") == 5 and len(address) == 17
        known = [] if is_mac else [f'ips: ["{address}"]']
        shown = sorted(macs | ({address} if is_mac else set()))
        known += [f'macs: ["{shown[0]}"]'] if len(shown) == 1 else []  # several: it is behind a router, or spoofed
        name = f"unknown-{address.replace(':', '-').replace('.', '-')}"
        yield f"  {name}: {{zone: {zone or '?'}, {', '.join(known)}}}"


def _comment(lines: Iterable[str]) -> str:
    wrapped = (
        part
        for line in lines
        for part in (textwrap.wrap(line, WIDTH, subsequent_indent="  ", break_on_hyphens=False) or [""])
    )
    return "".join(f"# {line}".rstrip() + "\n" if line else "\n" for line in wrapped)


def _moment(time_ns: int) -> str:
    return datetime.fromtimestamp(time_ns // 1_000_000_000, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _day(time_ns: int) -> str:
    return datetime.fromtimestamp(time_ns // 1_000_000_000, UTC).date().isoformat()
