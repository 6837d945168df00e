"""Pixels that are none, or not as many as they should be."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from .item import INFER, JSON, PREDICT, Item
from .ways import infer_body, with_binary

SIZE = 71
"""Height and width that the demo model takes."""


def pixels() -> Iterator[Item]:
    """Yield pixels that are none, or not as many as they should be."""
    row = [[7, 8, 9]] * SIZE
    wrong: dict[str, Any] = {
        "-1": -1,
        "256": 256,
        "2^63": 2**63,
        "1.5": 1.5,
        "text": "7",
        "null": None,
        "true": True,
        "a list": [7],
    }
    images: dict[str, Any] = {name: [*[row] * (SIZE - 1), [*row[1:], [7, value, 9]]] for name, value in wrong.items()}
    images |= {
        "a row missing": [row] * (SIZE - 1),
        "a row too many": [row] * (SIZE + 1),
        "a short row": [*[row] * (SIZE - 1), row[1:]],
        "two channels": [[[7, 8]] * SIZE] * SIZE,
        "no rows": [],
        "empty rows": [[]] * SIZE,
        "an object": {"0": row},
        "a text": "pixels",
        "flat": [7] * (SIZE * SIZE * 3),
        "flat and short": [7] * (SIZE * SIZE * 3 - 1),
    }
    for name, image in images.items():
        document = {"signature_name": "pixels", "instances": [image]}
        body = json.dumps(document).encode()
        yield Item(f"pixels: {name}", PREDICT, body, JSON, says="instances")
        tensor = {"name": "pixels", "datatype": "UINT8", "shape": [1, SIZE, SIZE, 3], "data": [image]}
        says = r"^inputs\[0\]\.data"
        yield Item(f"v2 pixels: {name}", INFER, infer_body(tensor), JSON, says=says)
    for size in (0, 1, SIZE * SIZE * 3 - 1, SIZE * SIZE * 3 + 1, 10**6):
        tensor = {"name": "pixels", "datatype": "UINT8", "shape": [1, SIZE, SIZE, 3]}
        body, headers = with_binary(tensor, bytes(size))
        yield Item(f"{size} bytes of pixels", INFER, body, headers, says=r"^inputs\[0\]")
    for shape in (
        [1],
        [1, 71, 71],
        [1, 71, 71, 4],
        [1, 3, 71, 71],
        [1, 2**31, 2**31, 3],
        [0, 71, 71, 3],
        [65, 71, 71, 3],
    ):
        body, headers = with_binary({"name": "pixels", "datatype": "UINT8", "shape": shape}, bytes(SIZE * SIZE * 3))
        yield Item(f"pixels of shape {shape}", INFER, body, headers, says=r"^inputs\[0\]\.shape: ")
