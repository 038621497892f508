"""The refusals of the control path: one class per conclusion that a caller can draw.

In: a code (field term, stable, greppable), a detail (what is wrong, where) and a hint (what to do about it).
Out: an exception whose text an operator can act on, and the exit code of the command that ends with it.
Policy texts have their own error (`rules.load.PolicyError`). Never raised on the packet path.
"""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar


class ExitCode(IntEnum):
    """How `conduitd` and `conduitctl` end; scripts may rely on the numbers."""

    OK = 0
    INTERNAL = 1
    USAGE = 2
    REFUSED = 3  # policy or settings refused: nothing in force has changed
    KERNEL = 4
    UNREACHABLE = 5  # no control plane answers
    NOT_PERMITTED = 6
    DAMAGED = 7  # a capture was damaged: what stood before the damage was read and counted


class GatewayError(Exception):
    """Something was refused or failed; what was in force before is still in force."""

    exit_code: ClassVar[ExitCode] = ExitCode.INTERNAL

    def __init__(self, code: str, detail: str, hint: str = "") -> None:
        super().__init__(code, detail, hint)
        self.code = code
        self.detail = detail
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.detail} ({self.hint})" if self.hint else self.detail


class ConfigError(GatewayError):
    """The settings or the host's preparation are wrong: correct them and start again; retrying is useless."""

    exit_code = ExitCode.REFUSED


class KernelError(GatewayError):
    """The kernel refused or did not keep what we wrote: conclude that the change is not in force."""

    exit_code = ExitCode.KERNEL


class ControlError(GatewayError):
    """A message between processes was cut, malformed or unanswered: drop that peer and start over with a new one."""

    exit_code = ExitCode.UNREACHABLE


class NotPermittedError(ControlError):
    """The peer may not do this: tell it so, do not retry, and record the attempt."""

    exit_code = ExitCode.NOT_PERMITTED


class InternalError(GatewayError):
    """Two of our own parts disagree: conclude that this process cannot go on; a fresh one may."""

    exit_code = ExitCode.INTERNAL
