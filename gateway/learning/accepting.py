"""What was learned, written down: a fragment that loads together with the policy and passes its checks, or nothing.

In: the policy's files, what was learned, where to. Out: a new file. Must never write over a file, nor write a fragment
that the policy could not include as it stands.
"""

from __future__ import annotations

import json
import os
import posixpath
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.errors import ConfigError, InternalError
from rules.bundle import Bundle
from rules.compile import compile_bundle
from rules.conduit_model import Conduit
from rules.learning.fragment import fragment

if TYPE_CHECKING:
    from rules.compile import Compiled
    from rules.learning.fragment import Accepting
    from rules.learning.proposing import Learned


def accept(bundle: Bundle, learned: Learned, accepting: Accepting, path: Path) -> Compiled:
    """Write what was learned to a new file and return the policy with it. Raises ConfigError, PolicyError."""
    refuse_existing(path)
    text = fragment(learned, accepting)
    compiled = together(bundle, text, path, accepting)
    for one in learned.proposals:
        wanted = {**one.plain(), "stage": accepting.stage, "owner": accepting.owner}
        got = compiled.policy.conduits[one.name].model_dump(by_alias=True)
        expected = Conduit.model_validate(wanted).model_dump(by_alias=True)
        if any(got[key] != expected[key] for key in ("from", "to", "services", "windows", "stage", "owner")):
            raise InternalError("fragment_differs", f"conduit '{one.name}' would be read as another one: {got}", "")
    _write(path, text)
    return compiled


def refuse_existing(path: Path) -> None:
    """Raise ConfigError when there is something at a path."""
    if path.exists() or path.is_symlink():
        raise ConfigError("file_exists", f"{path} exists", "another name: what was learned never replaces a file")


def _write(path: Path, text: str) -> None:
    try:
        file = path.open("x", encoding="utf-8")
    except FileExistsError:
        raise ConfigError("file_exists", f"{path} exists", "another name") from None
    except OSError as error:
        raise ConfigError("file_unwritable", f"{path} can't be written: {error.strerror}") from error
    try:
        with file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        path.unlink()
        raise ConfigError("file_unwritable", f"{path} can't be written: {error.strerror}") from error


def together(bundle: Bundle, text: str, path: Path, accepting: Accepting) -> Compiled:
    """Compile a policy as if it included a fragment. Raises PolicyError."""
    main = posixpath.basename(bundle.name) or "policy.yaml"
    name = included_as(bundle, path)
    if name in bundle.files or name == main:
        raise ConfigError("file_exists", f"the policy has a file {name} already", "another name")
    whole = f"version: 1\ninclude: {json.dumps([main, name])}\n"
    files = {**bundle.files, main: bundle.text.encode(), name: text.encode()}
    folder = posixpath.dirname(bundle.name)
    above = Bundle(posixpath.join(folder, f"{main} with {name}"), whole, files, bundle.unread)
    return compile_bundle(above, today=accepting.today)


def included_as(bundle: Bundle, path: Path) -> str:
    """Return how the policy's `include` names a file; only its name when it is not below the policy's folder."""
    folder = Path(bundle.name).parent.resolve()
    whole = path.resolve()
    return whole.relative_to(folder).as_posix() if whole.is_relative_to(folder) else path.name
