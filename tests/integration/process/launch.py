"""conduitd with the stub for a control plane: `launch.py SETTINGS [ENGINE_SCRIPT]`. Everything else is the product."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from fastpath.queue import Releaser, open_queue
from gateway.errors import GatewayError
from gateway.keeper.keeper import KeeperParts, child_environment, python_program, run_keeper
from gateway.keeper.notify import ServiceNotifier
from gateway.keeper.run_lock import run_lock
from gateway.log import configure_log
from gateway.settings import load_settings

HERE = Path(__file__).resolve().parent


def main() -> int:
    """Run the keeper until it is told to stop."""
    settings_file = Path(sys.argv[1])
    settings = load_settings(settings_file)
    configure_log("keeper")
    engine = (sys.executable, sys.argv[2]) if len(sys.argv) > 2 else python_program("gateway.engine")
    parts = KeeperParts(
        settings=settings,
        open_queue=open_queue,
        make_releaser=Releaser,
        engine_program=engine,
        control_program=(sys.executable, str(HERE / "stub_control.py"), "--settings", str(settings_file)),
        child_environment=child_environment(os.environ),
        notifier=ServiceNotifier.from_environment(os.environ, os.getpid()),
    )
    try:
        with run_lock(settings.run_dir):
            run_keeper(parts)
    except GatewayError as error:
        print(f"{error.code}: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
