"""Entry of the control process: `python -m gateway.control --fd N --settings FILE`, started by the keeper only.

Wires the real kernel and the keeper's channel into the control plane and serves until SIGTERM or until the keeper is
gone. Everything in force outlives this process: killed at any moment, the next one resumes.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sqlite3
import sys
from pathlib import Path
from typing import Final

import structlog
import uvloop

from gateway.channel import AsyncChannel, from_fd
from gateway.control.api.server import ControlServer
from gateway.control.kernel_link import KernelLink
from gateway.control.run import Run
from gateway.engine.privileges import die_with_parent
from gateway.errors import ConfigError, ExitCode, GatewayError
from gateway.log import configure_log
from gateway.settings import load_settings

UMASK: Final = 0o022  # files that are nobody else's say so themselves
_log = structlog.get_logger(__name__)


async def _serve(fd: int, settings_file: Path) -> None:
    settings = load_settings(settings_file)
    channel = AsyncChannel(from_fd(fd))
    run = await Run.begin(settings, channel, KernelLink(settings))
    server = ControlServer(run.plane)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, run.stop.set)
    try:
        await run.bring_up()
        await server.start()
        _log.info("control_ready", generation=run.plane.core.generation, trouble=run.plane.core.trouble)
        await run.until_over()
    finally:
        await server.stop()
        await run.end()
    # A compile that nobody waits for any more may still hold a thread: a planned stop doesn't wait for it either.
    sys.stderr.flush()
    os._exit(ExitCode.OK)


def main() -> int:
    """Serve; the exit code says why it ended."""
    parser = argparse.ArgumentParser(prog="gateway.control", description="Control plane of conduitd; started by it.")
    parser.add_argument("--fd", type=int, required=True, help="descriptor of the channel to the keeper")
    parser.add_argument("--settings", type=Path, required=True, help="the daemon's settings file")
    options = parser.parse_args()
    parent = os.getppid()
    os.umask(UMASK)
    configure_log("control")
    die_with_parent(parent)
    try:
        uvloop.run(_serve(options.fd, options.settings))
    except GatewayError as error:
        _log.error("control_ends", code=error.code, detail=error.detail, hint=error.hint)
        return error.exit_code
    except sqlite3.Error as error:
        _log.error("control_ends", code="journal_unusable", detail=str(error), hint="see state_dir in the settings")
        return ConfigError.exit_code
    return ExitCode.OK


if __name__ == "__main__":
    sys.exit(main())
