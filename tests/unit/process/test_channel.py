"""Channels: whole messages with their descriptors, or a ControlError and no descriptor left open."""

from __future__ import annotations

import array
import asyncio
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gateway import channel
from gateway.channel import AsyncChannel, Channel
from gateway.errors import ControlError

if TYPE_CHECKING:
    from collections.abc import Iterator

Ends = tuple[socket.socket, socket.socket]


@pytest.fixture
def ends() -> Iterator[Ends]:
    """Yield two connected ends."""
    left, right = channel.pair()
    with left, right:
        yield left, right


def _open_fds() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_message_and_descriptors_arrive(ends: Ends) -> None:
    """The body comes back equal, the descriptor refers to the same file and is closed on exec."""
    memory = os.memfd_create("test")
    Channel(ends[0]).send({"op": "install", "generation": 7}, (memory,))
    message = Channel(ends[1]).receive()
    assert message is not None
    assert (message.op, message.number("generation")) == ("install", 7)
    assert os.path.sameopenfile(memory, message.fds[0])
    assert not os.get_inheritable(message.fds[0])
    message.close_fds()
    os.close(memory)


def test_closed_peer_is_the_end(ends: Ends) -> None:
    """Nothing more to come is None; nobody to send to is a ControlError."""
    ends[0].close()
    assert Channel(ends[1]).receive() is None
    with pytest.raises(ControlError):
        Channel(ends[1]).send({"op": "go"})


@pytest.mark.parametrize(
    "datagram",
    [b"{", b"[]", b"{}", b'{"op": 1}', b"\xff", b'"x"', b'{"op":"x"' + b" " * channel.MESSAGE_BYTES_MAX + b"}"],
)
def test_malformed_message_leaks_no_descriptor(ends: Ends, datagram: bytes) -> None:
    """Whatever is wrong with the text, the descriptors beside it are closed."""
    before = _open_fds()
    memory = os.memfd_create("test")
    ends[0].sendmsg([datagram], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [memory]))])
    os.close(memory)
    with pytest.raises(ControlError):
        Channel(ends[1]).receive()
    assert _open_fds() == before


def test_too_many_descriptors_are_refused_and_closed(ends: Ends) -> None:
    """More descriptors than a message may carry: cut by the kernel, refused here, none left open."""
    before = _open_fds()
    memory = os.memfd_create("test")
    rights = array.array("i", [memory] * (channel.FDS_MAX + 5))
    ends[0].sendmsg([b'{"op":"x"}'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
    os.close(memory)
    with pytest.raises(ControlError, match="cut"):
        Channel(ends[1]).receive()
    assert _open_fds() == before


def test_oversized_message_is_not_sent(ends: Ends) -> None:
    """A message the other end would have to refuse is refused here."""
    with pytest.raises(ControlError, match="longer"):
        Channel(ends[0]).send({"op": "x", "text": "y" * channel.MESSAGE_BYTES_MAX})


def test_asyncio_end_waits_and_survives_cancellation(ends: Ends) -> None:
    """A receive that was cancelled loses no message."""

    async def converse() -> list[str]:
        left, right = AsyncChannel(ends[0]), AsyncChannel(ends[1])
        waiting = asyncio.create_task(right.receive())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await left.send({"op": "first"})
        await left.send({"op": "second"})
        messages = [await right.receive(), await right.receive()]
        return [message.op for message in messages if message is not None]

    assert asyncio.run(converse()) == ["first", "second"]


def test_peer_that_takes_nothing_is_hung(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sending to a full socket ends in a ControlError after the time-out instead of waiting for ever."""
    monkeypatch.setattr(channel, "SEND_SECONDS", 0.05)

    async def flood() -> None:
        left = AsyncChannel(ends[0])
        while True:
            await left.send({"op": "x", "text": "y" * 60000})

    with pytest.raises(ControlError, match="took no message"):
        asyncio.run(flood())


def test_descriptor_that_is_no_channel_is_refused() -> None:
    """A child started by hand says so."""
    memory = os.memfd_create("test")
    with pytest.raises(ControlError, match="not a socket"):
        channel.from_fd(memory)
    os.close(memory)
