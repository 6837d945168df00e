"""Bodies beyond the limit of the service."""

from __future__ import annotations

import json
from collections.abc import Iterator

from .item import CLASSIFY, EXAMPLES, INDEX, INFER, JSON, PREDICT, REGRESS, Item
from .ways import images_tensor, infer_body


def large() -> Iterator[Item]:
    """Yield bodies beyond the limit of the service."""
    over = 2 * 2**20 + 1
    for path in (PREDICT, EXAMPLES, REGRESS, INFER, CLASSIFY, INDEX):
        yield Item(f"a body over the limit for {path}", path, b" " * over, says="^the body has")
        yield Item(f"twice the limit for {path}", path, b"\0" * (2 * over), says="^the body has")
    many = {"instances": [{"b64": ""}] * 65}
    yield Item(
        "65 instances", PREDICT, json.dumps(many).encode(), JSON, says="^instances: has 65 images; the limit is 64"
    )
    crowd = {"instances": [{"b64": "x"}] * 100_000}
    yield Item("100,000 instances", PREDICT, json.dumps(crowd).encode(), JSON, says="^the JSON has 200001 strings")
    examples = {"examples": [{f"f{number}": 1 for number in range(1001)}]}
    yield Item(
        "1001 features", EXAMPLES, json.dumps(examples).encode(), JSON, says=r"^examples\[0\]: has 1001 features"
    )
    tensor = images_tensor(shape=[10**9], data=[])
    yield Item("10^9 images", INFER, infer_body(tensor), JSON, says=r"^inputs\[0\]\.shape: has 1000000000 images")
