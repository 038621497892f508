"""The policy in force, for commands that judge by it on their own: fetched with all of its files, and compiled."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from gateway.cli.failure import Failure
from gateway.errors import ExitCode

if TYPE_CHECKING:
    from gateway.cli.session import Session
    from rules.bundle import Bundle
    from rules.compile import Compiled


def bundle_in_force(here: Session) -> Bundle:
    """Return the policy that is in force, with its files. Raises Failure when no daemon answers."""
    from rules.bundle import bundle_of_texts  # noqa: PLC0415 (loads YAML; --help must not)

    try:
        content = here.client.get("/v1/policy")
    except Failure as failure:
        if failure.exit_code is ExitCode.UNREACHABLE:
            failure.hint = "--policy FILE judges by a file, without the daemon"
        raise
    return bundle_of_texts(content["name"], content["text"], content["files"])


def in_force(here: Session) -> Compiled:
    """Compile the policy that is in force. Raises Failure when no daemon answers."""
    from rules.compile import compile_bundle  # noqa: PLC0415 (loads YAML and models; --help must not)

    return compile_bundle(bundle_in_force(here), accepted=True)


def not_counted(here: Session) -> dict[str, int]:
    """Return what holds beside the policy's text, and is not judged by; say on standard error when there is any."""
    status = here.client.get("/v1/status")
    found = {name: int(status[name]) for name in ("overrides", "quarantined")}
    if any(found.values()):
        text = f"{found['overrides']} stages set at run time and {found['quarantined']} devices in quarantine"
        print(f"judged by the text in force: {text} do not count here", file=sys.stderr)
    return found
