"""Quarantine: nothing passes from or to a device any more, live flows included, until it is released or time is up.

In: a target (asset, MAC or IP), a reason, an optional duration. Out: elements of the kernel's guard sets, an entry in
the state directory, a journal line. The kernel drops first; disk and journal follow. Two entries may share an address:
it stays blocked until the last of them is gone. Called by the API, at start, after a policy swap and by the clock.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Literal

import structlog

from gateway.control.api.models import QuarantineEntry as AnsweredEntry
from gateway.control.journal import DAEMON, Actor
from gateway.control.kernel_port import GuardMember
from gateway.control.state_dir import QuarantineEntry, QuarantineRecord
from gateway.errors import ConfigError, GatewayError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.control.core import Core
    from rules.records import LoweredPolicy

MAC: Final = re.compile(r"[0-9a-fA-F]{2}([:-][0-9a-fA-F]{2}){5}")
HOST_LENGTH: Final = 128
EXPIRY_CHECK_S: Final = 1.0
_log = structlog.get_logger(__name__)


def asset_addresses(lowered: LoweredPolicy, name: str) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """Return an asset's (MACs, IPs) as text; None when the policy has no such asset."""
    number = next((asset.number for asset in lowered.assets if asset.name == name), None)
    if number is None:
        return None
    macs = {mac.mac.hex(":") for mac in lowered.macs if mac.asset == number}
    addresses = {
        _address_text(endpoint.address)
        for endpoint in lowered.endpoints
        if endpoint.asset == number and endpoint.prefix_length == HOST_LENGTH
    }
    return tuple(sorted(macs)), tuple(sorted(addresses))


def _address_text(raw: bytes) -> str:
    address = ipaddress.IPv6Address(raw)
    return str(address.ipv4_mapped or address)


def _members(macs: Iterable[str], addresses: Iterable[str], seconds: int | None = None) -> list[GuardMember]:
    found = [GuardMember("mac", mac, seconds) for mac in macs]
    for address in addresses:
        kind: Literal["ip4", "ip6"] = "ip4" if ipaddress.ip_address(address).version == 4 else "ip6"
        found.append(GuardMember(kind, address, seconds))
    return found


def _seconds_left(until: datetime | None, now: datetime) -> int | None:
    return None if until is None else max(1, int((until - now).total_seconds()) + 1)


class Quarantine:
    """The entries. Every change runs under the core's lock."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._record = core.state_dir.quarantine()

    def entries(self) -> tuple[QuarantineEntry, ...]:
        """Return the entries in force."""
        return self._record.entries

    def covering(self, macs: Iterable[str], addresses: Iterable[str]) -> QuarantineEntry | None:
        """Return the first entry that blocks any of these addresses."""
        wanted_macs, wanted = set(macs), set(addresses)
        for entry in self._record.entries:
            if wanted_macs.intersection(entry.macs) or wanted.intersection(entry.addresses):
                return entry
        return None

    async def add(self, target: str, reason: str, duration: timedelta | None, actor: Actor) -> QuarantineEntry:
        """Block a device. Raises ConfigError for an unknown target, KernelError when the kernel refused."""
        async with self._core.lock:
            macs, addresses = self._resolve(target)
            now = datetime.now(UTC)
            entry = QuarantineEntry(
                number=self._record.next_number,
                target=target,
                macs=macs,
                addresses=addresses,
                reason=reason,
                who=str(actor),
                since=now,
                until=None if duration is None else now + duration,
            )
            entries = (*self._record.entries, entry)
            await asyncio.to_thread(self._core.kernel.quarantine_add, self._blocked(entries, entry, now))
            await self._keep(QuarantineRecord(entries=entries, next_number=entry.number + 1))
            await self._core.record(actor, "quarantine.add", _detail(entry))
            return entry

    async def release(self, which: str, actor: Actor, reason: str = "") -> list[QuarantineEntry]:
        """Release by entry number or by target. Raises ConfigError when nothing matches."""
        async with self._core.lock:
            chosen = [entry for entry in self._record.entries if which in (str(entry.number), entry.target)]
            if not chosen:
                detail = f"nothing in quarantine is called {which!r}"
                raise ConfigError(
                    "quarantine_unknown", detail, "`conduitctl quarantine list` shows numbers and targets"
                )
            await self._drop(chosen)
            for entry in chosen:
                await self._core.record(actor, "quarantine.release", _detail(entry) | {"note": reason})
            return chosen

    async def restore(self) -> None:
        """Bring the kernel's sets back after a start or a policy swap; an asset's new addresses are added."""
        now = datetime.now(UTC)
        entries = tuple(self._widened(entry) for entry in self._record.entries if not _expired(entry, now))
        members = [member for entry in entries for member in self._blocked(entries, entry, now)]
        if members:
            await asyncio.to_thread(self._core.kernel.quarantine_add, members)
        if entries != self._record.entries:
            await self._keep(self._record.model_copy(update={"entries": entries}))

    async def run_expiry(self) -> None:
        """Release what has run out, until cancelled."""
        while True:
            await asyncio.sleep(EXPIRY_CHECK_S)
            await self.expire()

    async def expire(self) -> None:
        """Release and journal every entry whose time is up."""
        if not any(_expired(entry, datetime.now(UTC)) for entry in self._record.entries):
            return
        async with self._core.lock:
            gone = [entry for entry in self._record.entries if _expired(entry, datetime.now(UTC))]
            try:
                await self._drop(gone)
            except (GatewayError, OSError) as error:
                _log.error("quarantine_expiry", error=str(error))  # tried again in a second
                return
            for entry in gone:
                await self._core.record(DAEMON, "quarantine.expired", _detail(entry))

    async def _drop(self, gone: list[QuarantineEntry]) -> None:
        entries = tuple(entry for entry in self._record.entries if entry not in gone)
        held = {address for entry in entries for address in (*entry.macs, *entry.addresses)}
        freed = [
            member for entry in gone for member in _members(entry.macs, entry.addresses) if member.value not in held
        ]
        if freed:
            await asyncio.to_thread(self._core.kernel.quarantine_remove, freed)
        await self._keep(self._record.model_copy(update={"entries": entries}))

    async def _keep(self, record: QuarantineRecord) -> None:
        self._record = record
        with contextlib.suppress(GatewayError, OSError):  # the guard stands in front of the lane: nothing waits for it
            self._core.lane.judge_again()
        try:
            await asyncio.to_thread(self._core.state_dir.save_quarantine, record)
        except OSError as error:
            self._core.trouble["state_dir"] = f"quarantine is not saved: {error.strerror}"
            _log.error("quarantine_unsaved", error=str(error))

    def _blocked(self, entries: Iterable[QuarantineEntry], entry: QuarantineEntry, now: datetime) -> list[GuardMember]:
        """Return an entry's members, each with the longest time that any entry asks for it."""
        members = []
        for member in _members(entry.macs, entry.addresses):
            ends = [other.until for other in entries if member.value in (*other.macs, *other.addresses)]
            latest = None if None in ends else max(end for end in ends if end is not None)
            members.append(GuardMember(member.kind, member.value, _seconds_left(latest, now)))
        return members

    def _resolve(self, target: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        if MAC.fullmatch(target):
            return (target.lower().replace("-", ":"),), ()
        try:
            return (), (str(ipaddress.ip_address(target)),)
        except ValueError:
            found = self._of_asset(target)
        if not any(found):
            detail = f"{target!r} is no MAC, no IP and no asset with addresses"
            raise ConfigError("quarantine_target", detail, "`conduitctl assets` lists the assets")
        return found

    def _of_asset(self, name: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return its addresses, while a policy is being loaded also those under the one that may yet come back."""
        leaving = self._core.leaving.policy if self._core.leaving is not None else None
        policies = [policy for policy in (self._core.policy(), leaving) if policy is not None]
        found = [asset_addresses(policy.lowered, name) or ((), ()) for policy in policies]
        macs = {mac for one, _ in found for mac in one}
        return tuple(sorted(macs)), tuple(sorted({address for _, one in found for address in one}))

    def _widened(self, entry: QuarantineEntry) -> QuarantineEntry:
        found = asset_addresses(self._core.current.lowered, entry.target) if self._core.current else None
        if found is None:
            return entry
        macs = tuple(sorted({*entry.macs, *found[0]}))
        return entry.model_copy(update={"macs": macs, "addresses": tuple(sorted({*entry.addresses, *found[1]}))})


def _expired(entry: QuarantineEntry, now: datetime) -> bool:
    return entry.until is not None and entry.until <= now


def _detail(entry: QuarantineEntry) -> dict[str, Any]:
    return {
        "number": entry.number,
        "target": entry.target,
        "addresses": [*entry.macs, *entry.addresses],
        "reason": entry.reason,
        "until": entry.until.isoformat() if entry.until else None,
    }


def as_answer(entry: QuarantineEntry) -> AnsweredEntry:
    """Return an entry as the control socket shows it."""
    return AnsweredEntry.model_validate(
        entry.model_dump() | {"macs": list(entry.macs), "addresses": list(entry.addresses)}
    )
