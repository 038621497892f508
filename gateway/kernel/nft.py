"""Talks to nftables: whole transactions as text in, JSON listings out.

In: script text made by `rules.static` or by this package, never by an operator. Out: nothing, or KernelError that
names the statement the kernel refused. One call is one transaction: it is in force whole or not at all.
Must never flush or delete what is not ours. Called by the other modules of this package only. Every call blocks.
"""

from __future__ import annotations

import json
import re
import subprocess
from typing import Any, Final

from gateway.errors import KernelError
from gateway.kernel.nfnetlink import dump, open_socket, text

TIMEOUT_SECONDS: Final = 60  # a policy of 65536 conduits loads in a few seconds; a kernel that needs more is stuck
EXCERPT_CHARACTERS: Final = 200
NFT_MSG_GETTABLE, NFTA_TABLE_NAME = 1, 1  # linux/netfilter/nf_tables.h
_FAMILIES: Final = {"ip": 2, "ip6": 10, "bridge": 7}  # linux/netfilter.h, NFPROTO_*
_POSITION: Final = re.compile(r"^(?:/dev/stdin|-|<stdin>):(\d+):\d+(?:-\d+)?: (?:Error: )?(.*)$", re.MULTILINE)


def apply(script: str) -> None:
    """Load a script as one transaction; raise KernelError naming the refused statement."""
    done = _run(["-f", "-"], script)
    if done.returncode != 0:
        raise KernelError("NFT_REFUSED", _explain(script, done.stderr), "nothing of this change is in force")


def listing(*what: str) -> list[dict[str, Any]]:
    """Return `nft -j list …` as a list of objects; raise KernelError when it does not exist or cannot be read."""
    done = _run(["-j", "list", *what], None)
    if done.returncode != 0:
        first = done.stderr.strip().splitlines()[:1]
        raise KernelError("NFT_UNREADABLE", f"nft list {' '.join(what)}: {first[0] if first else 'no output'}")
    objects = json.loads(done.stdout)["nftables"]
    return [found for found in objects if "metainfo" not in found]


def text_listing(*what: str) -> str:
    """Return `nft list …` as text, or an empty string when it does not exist."""
    done = _run(["list", *what], None)
    return done.stdout if done.returncode == 0 else ""


def table_exists(family: str, name: str) -> bool:
    """Say whether a table exists."""
    # Not `nft list tables`: it reads every element of every set of the machine first.
    try:
        with open_socket() as netlink:
            answers = dump(netlink, NFT_MSG_GETTABLE, _FAMILIES[family], b"")
    except OSError as error:
        raise KernelError("NFT_UNREADABLE", f"tables of {family}: {error.strerror}") from error
    return any(answer.get(NFTA_TABLE_NAME) == text(name) for answer in answers)


def reset_counters(family: str, table: str) -> None:
    """Set the named counters of one of our tables to zero; raise KernelError when the kernel refuses."""
    done = _run(["reset", "counters", "table", family, table], None)
    if done.returncode != 0:
        raise KernelError("NFT_REFUSED", _explain("", done.stderr), "no counter was set to zero")


def delete_table(family: str, name: str) -> None:
    """Delete one of our tables; one that does not exist is no error."""
    apply(f"add table {family} {name}\ndelete table {family} {name}\n")


def _run(arguments: list[str], script: str | None) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            ["nft", *arguments], input=script, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False
        )
    except FileNotFoundError as error:
        raise KernelError("NFT_MISSING", "the command nft is missing", "install nftables 1.0.6 or newer") from error
    except subprocess.TimeoutExpired as error:
        raise KernelError("NFT_TIMEOUT", f"nft did not answer within {TIMEOUT_SECONDS} s") from error


def _explain(script: str, complaint: str) -> str:
    """Return nft's first complaint with the statement it is about."""
    found = _POSITION.search(complaint)
    if found is None:
        first = complaint.strip().splitlines()[:1]
        return f"nft: {first[0] if first else 'failed without a word'}"
    number, text = int(found.group(1)), found.group(2)
    lines = script.splitlines()
    statement = lines[number - 1] if 0 < number <= len(lines) else "?"
    if len(statement) > EXCERPT_CHARACTERS:
        statement = statement[:EXCERPT_CHARACTERS] + " …"
    return f"nft: line {number}: {text}: {statement}"
