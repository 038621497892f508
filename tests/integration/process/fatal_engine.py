"""The real engine, but one generation is poison: looking at its image ends the process as a bad pointer would."""

from __future__ import annotations

import os
import signal

from fastpath import judge
from fastpath.abi import IMAGE_HEADER
from gateway.engine import __main__ as engine

POISON = 666
_validate = judge.validate_image


def validate_image(image: memoryview) -> None:
    """Validate as the product does, after dying of the poison."""
    if IMAGE_HEADER.unpack_from(image)["generation"] == POISON:
        os.kill(os.getpid(), signal.SIGSEGV)
    _validate(image)


if __name__ == "__main__":
    judge.validate_image = validate_image
    os._exit(engine.main())
