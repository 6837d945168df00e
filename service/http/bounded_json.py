"""Parse JSON within limits, and without garbage collections meanwhile.

The memory of a parsed document has little to do with its bytes: a list in a list takes 5 bytes, and 150 when parsed.
Parsing also blocks the event loop. So the values of a document are counted before it is parsed.
"""

from __future__ import annotations

import gc
from typing import Any, Final

import numpy as np
import orjson

from service.core.errors import PayloadTooLargeError

MAX_VALUES: Final = 2**22
"""Lists, objects and elements of one document: about 11 images of 299 × 299 as pixels, 200 of 71 × 71.

The worst document within this and `MAX_STRINGS` takes half a second to parse, and meanwhile twelve times
`MAX_REQUEST_MIB` of memory (measured: 374 MiB for 31)."""

MAX_STRINGS: Final = 2**17
"""Strings and keys of one document; an encoded image is one. 64 examples of a thousand features have as many."""

_MAX_UNCOUNTED_BYTES = 2**20
"""Size up to which nothing is counted: at worst 33 MiB of memory, and a tenth of a second."""

_COUNT_BYTES = 2**18
"""Bytes counted at a time; temporary arrays then stay in the cache of the CPU."""


def parse_json(data: bytes | memoryview) -> Any:
    """Return the parsed document.

    The garbage collector is disabled meanwhile: pixels in JSON make a million lists, none of them garbage, and
    scanning them takes longer than parsing.

    Raises:
        orjson.JSONDecodeError: It is not JSON.
        PayloadTooLargeError: It has more values or strings than the limits.
    """
    if len(data) > _MAX_UNCOUNTED_BYTES:
        _require_bounded(data)
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        return orjson.loads(data)
    finally:
        if was_enabled:
            gc.enable()


def _require_bounded(data: bytes | memoryview) -> None:
    """Count values and strings; the same characters within strings count, too, but base64 has none of them."""
    values, strings = _count(data, b"[{,"), _count(data, b'"') // 2
    if values > MAX_VALUES:
        raise PayloadTooLargeError(
            f"the JSON has {values} numbers, lists and other values; the limit is {MAX_VALUES} "
            "(encoded images, in base64, are one each)"
        )
    if strings > MAX_STRINGS:
        raise PayloadTooLargeError(f"the JSON has {strings} strings and keys; the limit is {MAX_STRINGS}")


def _count(data: bytes | memoryview, characters: bytes) -> int:
    """Return how often any of the characters occurs in the data."""
    octets = np.frombuffer(data, np.uint8)
    pieces = (octets[at : at + _COUNT_BYTES] for at in range(0, len(octets), _COUNT_BYTES))
    return sum(int(np.count_nonzero(piece == character)) for piece in pieces for character in characters)
