"""A request that nobody should send, and where requests go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

MODEL = "/v1/models/xception"
PREDICT, EXAMPLES, REGRESS = f"{MODEL}:predict", f"{MODEL}:classify", f"{MODEL}:regress"
INFER = "/v2/models/xception/infer"
CLASSIFY = "/classify"
INDEX = "/v2/repository/index"

HEADER_LENGTH = "Inference-Header-Content-Length"
JSON = {"Content-Type": "application/json"}
BINARY = {"Content-Type": "application/octet-stream"}
BOUNDARY = "a-boundary"
FORM = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


@dataclass(frozen=True)
class Item:
    """A request."""

    name: str
    path: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    harmless: bool = False
    """Whether it may be answered, too; the others must be refused."""
    says: str = ""
    """A pattern that the text of a refusal must have, where it is known: it names the field, or the limit."""
