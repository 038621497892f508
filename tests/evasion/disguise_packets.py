"""How the packets around a segment may be fragmented, extended, optioned and tagged.

In: the message (`real`), as many harmless bytes (`decoy`), one whole permitted message (`other`). Out: scripts.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from tests.evasion.disguise_bytes import middle, orders, plain, split, whole
from tests.evasion.packets import Form, Piece
from tests.evasion.script import Script

if TYPE_CHECKING:
    from collections.abc import Iterator

PADDING6: Final = b"\x00\x01\x04" + bytes(4)  # 8 bytes of options: PadN
ROUTING6: Final = b"\x00\x00\x00" + bytes(4)  # type 0 without segments left


def _fragmented(real: bytes, decoy: bytes, version: int) -> Iterator[Script]:
    tiny = tuple(Piece(at, at + 8) for at in range(0, 20 + len(real), 8))
    header = (Piece(0, 8), Piece(8, None))
    body = (Piece(0, 24), Piece(24, None))
    fill = bytes(4) + decoy
    for pieces in (
        tiny,
        tuple(reversed(tiny)),
        header,
        header[::-1],
        body,
        body[::-1],
        (Piece(0, 24), Piece(16, None)),
        (Piece(0, 24), Piece(24, None, fill), Piece(24, None)),
        (Piece(24, None, fill), Piece(24, None), Piece(0, 24)),
    ):
        form = Form(pieces=pieces)
        yield Script(real, (whole(real, form=form),), version=version, form=form)


def fragments(real: bytes, decoy: bytes, _other: bytes) -> Iterator[Script]:
    """Fragment by IPv4: tiny, within the TCP header, behind it, out of order, overlapping."""
    yield from _fragmented(real, decoy, 4)


def fragments6(real: bytes, decoy: bytes, _other: bytes) -> Iterator[Script]:
    """Fragment by IPv6 the same ways, and into a single fragment."""
    yield from _fragmented(real, decoy, 6)
    form = Form(pieces=(Piece(0, None),))
    yield Script(real, (whole(real, form=form),), version=6, form=form)


def extensions6(real: bytes, _decoy: bytes, _other: bytes) -> Iterator[Script]:
    """Put IPv6 extension headers in front of TCP: hop by hop, destination, routing, several."""
    chains = (
        ((0, PADDING6),),
        ((60, PADDING6),),
        ((43, ROUTING6),),
        ((0, PADDING6), (60, PADDING6)),
        ((60, PADDING6),) * 3,
    )
    for chain in chains:
        form = Form(extensions=chain)
        yield Script(real, (whole(real, form=form),), version=6, form=form)
        cut = middle(real)
        yield Script(real, (whole(real, end=cut), whole(real, at=cut, form=form)), version=6, form=form)


def plain6(real: bytes, decoy: bytes, other: bytes) -> Iterator[Script]:
    """Send it by IPv6: whole, cut, out of order, twice."""
    for script in (*plain(real, decoy, other), *split(real, decoy, other), *orders(real, decoy, other)):
        yield replace(script, version=6)


def options4(real: bytes, _decoy: bytes, _other: bytes) -> Iterator[Script]:
    """Put IPv4 and TCP options in front of the message: alerts, padding, unknown ones."""
    for form in (
        Form(ip_options=b"\x94\x04\x00\x00"),
        Form(ip_options=b"\x01" * 40),
        Form(tcp_options=b"\x01" * 36),
        Form(tcp_options=b"\xfd\x06evas"),
    ):
        yield Script(real, (whole(real, form=form),), form=form)


def tags(real: bytes, _decoy: bytes, _other: bytes) -> Iterator[Script]:
    """Tag the frames: priority only, twice, as a service provider, for another VLAN; wrap them into SNAP."""
    for form in (
        Form(tags=b"\x81\x00\x00\x00"),
        Form(tags=b"\x81\x00\x00\x00\x81\x00\x00\x00"),
        Form(tags=b"\x88\xa8\x00\x00\x81\x00\x00\x00"),
        Form(tags=b"\x81\x00\x00\x64"),
        Form(snap=True),
    ):
        yield Script(real, (whole(real, form=form),), form=form)
