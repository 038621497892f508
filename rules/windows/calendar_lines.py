"""An iCalendar file as lines: unfolded, split, nested, each with the number it has in an editor.

In: the bytes of a file. Out: a tree of `Component`, or `CalendarError` with the line. SPEC: RFC 5545 section 3.1
(lines), 3.4 to 3.6 (components). icalendar splits a line into name, parameters and value; the order and the numbers
of lines are kept here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from icalendar.parser import Contentline

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_LINES: Final = 200_000
MAX_LINE: Final = 64 * 1024  # unfolded; a description may be long
MAX_DEPTH: Final = 4  # VCALENDAR, VEVENT, VALARM and one of somebody's own


class CalendarError(ValueError):
    """The file is refused; `line` counts from 1, 0 means the file as a whole."""

    def __init__(self, line: int, message: str, hint: str = "", code: str = "POL075") -> None:
        super().__init__(message)
        self.line = line
        self.hint = hint
        self.code = code


@dataclass(frozen=True, slots=True)
class Property:
    """One unfolded line."""

    line: int
    name: str
    parameters: dict[str, str]
    value: str


@dataclass(slots=True)
class Component:
    """What stands between BEGIN and END."""

    line: int
    name: str
    properties: list[Property] = field(default_factory=list)
    below: list[Component] = field(default_factory=list)

    def all(self, name: str) -> list[Property]:
        """Return every property of a name."""
        return [found for found in self.properties if found.name == name]

    def one(self, name: str) -> Property | None:
        """Return the property of a name. Raises CalendarError when there are several."""
        found = self.all(name)
        if len(found) > 1:
            raise CalendarError(
                found[1].line, f"a second {name} in one {self.name}", f"the first is in line {found[0].line}"
            )
        return found[0] if found else None


def read_components(content: bytes) -> list[Component]:
    """Return the file's components. Raises CalendarError."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        bad = content.count(b"\n", 0, error.start) + 1
        raise CalendarError(bad, f"byte {content[error.start]:#04x} is not UTF-8", "save it as UTF-8") from None
    outermost: list[Component] = []
    open_ones: list[Component] = []
    for at, line in _unfolded(text):
        found = _property(at, line)
        if found.name == "BEGIN":
            _begin(found, open_ones, outermost)
        elif not open_ones:
            raise CalendarError(
                at, f"{found.name} stands outside of every component", "a calendar begins with BEGIN:VCALENDAR"
            )
        elif found.name == "END":
            done = open_ones.pop()
            if found.value.upper() != done.name:
                detail = f"END:{found.value[:40]} where END:{done.name} of line {done.line} is missing"
                raise CalendarError(at, detail)
        else:
            open_ones[-1].properties.append(found)
    if open_ones:
        raise CalendarError(open_ones[-1].line, f"{open_ones[-1].name} has no END", "is the file complete?")
    return outermost


def _begin(found: Property, open_ones: list[Component], outermost: list[Component]) -> None:
    if len(open_ones) >= MAX_DEPTH:
        raise CalendarError(found.line, f"nested deeper than {MAX_DEPTH} components")
    component = Component(found.line, found.value.upper())
    (open_ones[-1].below if open_ones else outermost).append(component)
    open_ones.append(component)


def _unfolded(text: str) -> Iterator[tuple[int, str]]:
    """Yield logical lines with the number of their first line."""
    parts: list[str] = []
    first = size = 0
    for number, ended in enumerate(text.split("\n"), start=1):
        if number > MAX_LINES:
            raise CalendarError(number, f"more than {MAX_LINES} lines", "keep the events that are to come", "POL076")
        line = ended.removesuffix("\r")
        if line[:1] in (" ", "\t") and parts:
            parts.append(line[1:])
            size += len(line)
            if size > MAX_LINE:
                raise CalendarError(first, "a line without end", "", "POL076")
            continue
        if parts:
            yield first, "".join(parts)
        parts, first, size = ([line] if line else []), number, len(line)
    if parts:
        yield first, "".join(parts)


def _property(number: int, line: str) -> Property:
    if len(line) > MAX_LINE:
        raise CalendarError(number, "a line without end", "", "POL076")
    try:
        name, parameters, value = Contentline(line, strict=False).raw_parts()
    except ValueError:
        raise CalendarError(
            number, f"'{line[:60]}' is no line of a calendar", "NAME:value, like DTSTART:20270101T060000"
        ) from None
    plain = {str(key).upper(): str(parameter) for key, parameter in parameters.items()}
    return Property(number, name.upper(), plain, value)
