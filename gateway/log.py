"""Where the processes' own words go: one JSON object per line on stderr, or readable text for a person in front of it.

Called once per process, before anything else logs. Must never open a file or a socket: the service manager keeps what
stderr says.
"""

from __future__ import annotations

import logging
import sys
from typing import Literal

import structlog

Style = Literal["json", "text"]


def configure_log(process: str, style: Style = "json") -> None:
    """Send structlog's events to stderr in the given style, each with the name of the process."""
    renderer: structlog.typing.Processor
    renderer = structlog.processors.JSONRenderer() if style == "json" else structlog.dev.ConsoleRenderer(colors=False)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.StackInfoRenderer(),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(process=process)
