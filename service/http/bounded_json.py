"""Reading JSON within bounds, and without looking for garbage in it.

What a document takes once it is read has little to do with its bytes: a list in a list is 5 of them, and then 150; and
reading holds up everybody else in the process. So what it would unfold to is counted before it is read.
"""

from __future__ import annotations

import gc
from typing import Any, Final

import numpy as np
import orjson

from service.core.errors import PayloadTooLargeError

MAX_VALUES: Final = 2**22
"""Lists, objects and what commas part, of one document: about 11 images of 299 × 299 as pixels, 200 of 71 × 71.

The worst document within this and `MAX_TEXTS` takes half a second to read, and twelve times `MAX_REQUEST_MIB` for as
long (measured: 374 MiB of 31)."""

MAX_TEXTS: Final = 2**17
"""Texts and keys of one document, an encoded image being one; as many as 64 examples of a thousand features have."""

_UNCOUNTED = 2**20
"""Bytes of a document that may hold anything: 33 MiB and a tenth of a second at worst."""

_PIECE = 2**18
"""Bytes counted at a time, so that what is made of them meanwhile stays in the cache of the CPU."""


def parse_json(data: bytes | memoryview) -> Any:
    """Return the document that `data` holds.

    The garbage collector rests meanwhile: pixels in JSON make a million lists, none of them garbage, and looking
    through them takes longer than reading them.

    Raises:
        orjson.JSONDecodeError: It is not JSON.
        PayloadTooLargeError: It would unfold to more than the limits.
    """
    if len(data) > _UNCOUNTED:
        _require_bounded(data)
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        return orjson.loads(data)
    finally:
        if was_enabled:
            gc.enable()


def _require_bounded(data: bytes | memoryview) -> None:
    """Count what a document is made of; what looks like it within a text counts, too, of which base64 has none."""
    values, texts = _count(data, b"[{,"), _count(data, b'"') // 2
    if values > MAX_VALUES:
        raise PayloadTooLargeError(
            f"the JSON has {values} numbers, lists and other values; the limit is {MAX_VALUES} "
            "(encoded images, in base64, are one each)"
        )
    if texts > MAX_TEXTS:
        raise PayloadTooLargeError(f"the JSON has {texts} texts and keys; the limit is {MAX_TEXTS}")


def _count(data: bytes | memoryview, characters: bytes) -> int:
    """Return how often any of the characters stands in the data."""
    octets = np.frombuffer(data, np.uint8)
    pieces = (octets[at : at + _PIECE] for at in range(0, len(octets), _PIECE))
    return sum(int(np.count_nonzero(piece == character)) for piece in pieces for character in characters)
