"""`make truth`: our reading of recorded traffic beside Wireshark's, by capture and in total.

In: protocols to compare (default all), and who reads: `decode`'s own code, or `--decoder 'PROGRAM THAT PRINTS LINES'`.
Out: a table and what differs; exit 1 when a protocol agrees on less than 99.9 % of the well-formed rows.
"""

from __future__ import annotations

import argparse
import functools
import sys
from typing import TYPE_CHECKING, Any, Final

from tests.support import captures
from tests.truth import comparing
from tests.truth.known import explanation
from tests.truth.reading import PROTOCOLS, messages, printed
from tests.truth.rows import Row, rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tests.truth.comparing import Reader

LEAST_SHARE: Final = 0.999
WIDTHS: Final = "{:54} {:>7} {:>7} {:>9} {:>8} {:>7}"
DIFFERENCES_SHOWN: Final = 40


def with_rows(protocol: str) -> list[Path]:
    """Return the captures that have rows of a protocol."""
    beside = [path for path in captures.files() if comparing.truth_of(path).is_file()]
    return [path for path in beside if next(_rows(path, protocol), None) is not None]


def _rows(path: Path, protocol: str) -> Iterator[Row]:
    try:
        yield from rows(comparing.truth_of(path), protocol)
    except KeyError:  # the columns of another protocol
        return


def show(protocol: str, shown: int, read: Reader) -> comparing.Comparison:
    """Compare every capture of a protocol; print the table and the differences."""
    total = comparing.Comparison()
    print(WIDTHS.format(protocol, "rows", "equal", "share %", "malf.", "beyond"))
    for capture in with_rows(protocol):
        found = comparing.compare(capture, protocol, read)
        _line(f"{capture.parent.name}/{capture.name}", found)
        total.add(found)
    _line("in total", total)
    for difference in total.differences[:shown]:
        print(f"  {difference.capture} frame {difference.frame}: {explanation(difference) or 'unexplained'}")
        print(f"      Wireshark {difference.theirs}\n      ours      {difference.ours}")
    if len(total.differences) > shown:
        print(f"  and {len(total.differences) - shown} more differences")
    print(flush=True)
    return total


def _printed(command: str, capture: Path, protocol: str) -> Iterator[dict[str, Any]]:
    """Return what a program prints: every protocol at once."""
    return printed(command, capture)


def _line(name: str, found: comparing.Comparison) -> None:
    malformed = f"{found.malformed_equal}/{found.malformed}"
    share = f"{100 * found.share:.3f}"
    print(WIDTHS.format(name, found.rows, found.equal, share, malformed, found.beyond))


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m tests.truth", description=__doc__)
    parser.add_argument("protocols", nargs="*", choices=[[], *PROTOCOLS], help="default: all of them")
    parser.add_argument("--differences", type=int, default=DIFFERENCES_SHOWN, help="how many to print by protocol")
    parser.add_argument(
        "--decoder", help="a program that prints a capture's messages; default: what `conduitctl decode` runs"
    )
    chosen = parser.parse_args(arguments)
    read: Reader = messages if chosen.decoder is None else functools.partial(_printed, chosen.decoder)
    if not captures.files():
        print("truth: no captures, nothing compared", file=sys.stderr)
        return 2
    totals = {protocol: show(protocol, chosen.differences, read) for protocol in chosen.protocols or PROTOCOLS}
    short = [protocol for protocol, total in totals.items() if not total.rows or total.share < LEAST_SHARE]
    shares = ", ".join(f"{name} {100 * one.share:.3f} % of {one.rows}" for name, one in totals.items())
    print(f"truth: {shares}" + (f"; too little: {', '.join(short)}" if short else ""))
    return 1 if short else 0


if __name__ == "__main__":
    sys.exit(main())
