"""`conduitd`: the daemon's command line.

In: arguments, a settings file, the service manager's environment. Out: a keeper that runs until SIGTERM or SIGINT, and
an exit code (see `gateway.errors.ExitCode`). Never forks into the background: a service manager does that better.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

import structlog

from gateway.errors import ExitCode, GatewayError
from gateway.keeper.keeper import KeeperParts, child_environment, python_program, run_keeper
from gateway.keeper.notify import ServiceNotifier
from gateway.keeper.run_lock import run_lock
from gateway.log import configure_log
from gateway.placement import require_cpus
from gateway.settings import DEFAULT_SETTINGS, Settings, load_settings

DISTRIBUTION: Final = "conduit-gateway"
_CPUS_ONLINE: Final = Path("/sys/devices/system/cpu/online")
_DESCRIPTION: Final = """\
The conduit-gateway daemon: judges every frame that crosses the bridge against the policy in force.

It keeps two processes alive, the engine that judges and the control plane that conduitctl talks to. When one of them
dies, it is started again and frames go on: while no engine judges, the kernel's own rules hold the same boundary.
Stopping it leaves those rules in place.
"""
_EPILOG: Final = """\
signals:
  SIGTERM, SIGINT   stop in order; the kernel's rules stay and hold the boundary
  SIGHUP            ignored; a policy is changed with `conduitctl policy apply`, settings with a restart

exit codes:
  0 stopped as told   1 internal fault   2 wrong arguments   3 settings refused or already running
  4 the kernel refused a queue           5 a process of ours cannot be reached

settings (TOML), with the value each has when it is not given:
"""


def product_version() -> str:
    """Return the installed version, or `unknown` in a source tree that was never installed."""
    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:
        return "unknown"


def settings_text(settings: Settings) -> str:
    """Return every key with its value, one a line, as dotted TOML keys."""
    lines: list[str] = []

    def walk(prefix: str, value: object) -> None:
        if isinstance(value, dict) and value:
            for key, below in value.items():
                walk(f"{prefix}.{key}" if prefix else str(key), below)
        else:
            lines.append(f"{prefix} = {json.dumps(value)}" if value != {} else f"{prefix} = {{}}")

    walk("", settings.model_dump(mode="json"))
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    epilog = _EPILOG + "\n".join(f"  {line}" for line in settings_text(Settings()).splitlines())
    parser = argparse.ArgumentParser(
        prog="conduitd",
        description=_DESCRIPTION,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--settings", type=Path, default=DEFAULT_SETTINGS, metavar="FILE", help="settings file (default: %(default)s)"
    )
    parser.add_argument("--check", action="store_true", help="validate the settings, print them complete, and exit")
    parser.add_argument(
        "--foreground", action="store_true", help="log in readable text, for a person; JSON lines otherwise"
    )
    parser.add_argument("--version", action="version", version=f"conduitd {product_version()}")
    return parser


def _cpus_online() -> frozenset[int]:
    """Return the CPUs that this machine runs on now, from the kernel's list of ranges such as `0-3,6`."""
    text = _CPUS_ONLINE.read_text(encoding="ascii").strip()
    ranges = (part.partition("-") for part in text.split(","))
    return frozenset(cpu for first, _, last in ranges for cpu in range(int(first), int(last or first) + 1))


def _keep(settings: Settings, settings_file: Path) -> None:
    """Run the keeper under the run directory's lock."""
    from fastpath.queue import Releaser, open_queue  # noqa: PLC0415 (--check must work where nothing is compiled)

    notifier = ServiceNotifier.from_environment(os.environ, os.getpid())
    parts = KeeperParts(
        settings=settings,
        open_queue=open_queue,
        make_releaser=Releaser,
        engine_program=python_program("gateway.engine"),
        control_program=(*python_program("gateway.control"), "--settings", str(settings_file.resolve())),
        child_environment=child_environment(os.environ),
        notifier=notifier,
    )
    try:
        with run_lock(settings.run_dir):
            run_keeper(parts)
    finally:
        notifier.close()


def main(arguments: list[str] | None = None) -> int:
    """Run the daemon, or what the options ask for instead; returns the exit code."""
    options = _parser().parse_args(arguments)
    configure_log("keeper", "text" if options.foreground or options.check else "json")
    try:
        settings = load_settings(options.settings)
        require_cpus(settings.engine, os.sched_getaffinity(0), _cpus_online())
        if options.check:
            print(settings_text(settings))  # noqa: T201 (the answer of a command)
            return ExitCode.OK
        _keep(settings, options.settings)
    except GatewayError as error:
        structlog.get_logger(__name__).error("conduitd_ends", code=error.code, detail=error.detail, hint=error.hint)
        return error.exit_code
    return ExitCode.OK


if __name__ == "__main__":
    sys.exit(main())
