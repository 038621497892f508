"""Bytes of a policy's file → text that may be looked at, edited and shown on a terminal.

In: untrusted bytes or text with the name of their file. Out: the text, or PolicyError with the place of what is wrong.
Must never let a character through that a terminal would obey, or that two readers of YAML take for different things.
"""

from __future__ import annotations

import re

from rules.problems import PolicyError, Problem

MAX_BYTES = 16 * 1024 * 1024  # of one file: about 100,000 assets
# YAML 1.2, production c-printable [1], turned around; the byte order mark is stripped before. NEL and the two Unicode
# separators are printable to YAML, but end a line for some readers (YAML 1.1) and not for others.
NO_TEXT = re.compile(
    "[^\\t\\n\\r\\x20-\\x7e\\xa0-\\u2027\\u202a-\\ud7ff\\ue000-\\ufefe\\uff00-\\ufffd\\U00010000-\\U0010ffff]"
)
# C0 but for tab and line feed, C1, and what turns the direction of text around: as written out by an escape.
CONTROL = re.compile("[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u202a-\\u202e\\u2066-\\u2069]")
DIRECTION = re.compile("[\\u202a-\\u202e\\u2066-\\u2069]")


def decoded(content: bytes, name: str) -> str:
    """Return the text of a file without its byte order mark. Raises PolicyError."""
    if len(content) > MAX_BYTES:
        raise PolicyError([too_large(name)])
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        column = error.start - content.rfind(b"\n", 0, error.start)
        what = f"byte {content[error.start]:#04x} is not UTF-8"
        raise PolicyError([Problem(name, line, column, what, "save it as UTF-8", "POL003")]) from None
    refuse_control_characters(text, name)
    return text


def refuse_control_characters(text: str, name: str) -> None:
    """Raise PolicyError at the first one; parsers' own messages have no usable position for them."""
    found = NO_TEXT.search(text) or DIRECTION.search(text)
    if found is None:
        return
    line = text.count("\n", 0, found.start()) + 1
    column = found.start() - text.rfind("\n", 0, found.start())
    message = f"character U+{ord(found[0]):04X} can't stand in a policy"
    raise PolicyError([Problem(name, line, column, message, "remove it", "POL004")])


def too_large(name: str) -> Problem:
    """Return the problem of a file beyond MAX_BYTES."""
    return Problem(name, 0, 0, f"larger than {MAX_BYTES // 2**20} MiB", "is this a policy?", "POL002")
