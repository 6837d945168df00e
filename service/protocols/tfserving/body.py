"""What the bodies of TensorFlow Serving's requests have in common: JSON, quoted back as it does, and its base64.

Where TensorFlow Serving has a fixed text for what is wrong, the answer begins with it, and says which field it is of
behind it in brackets.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import orjson

from service.core.errors import BadRequestError
from service.http.bounded_json import parse_json
from service.protocols.tensors import decode_base64

DEFAULT_SIGNATURE = "serving_default"
"""What a request that names no signature asks for."""

_QUOTED_MAX = 500
"""Characters of a value that are quoted back; TensorFlow Serving quotes all, however long it is."""

_SPACES = str.maketrans("", "", " \t\n\v\f\r")

_TYPES = {type(None): "Null", dict: "Object", list: "Array", str: "String", int: "Number", float: "Number"}


@dataclass(frozen=True)
class Element:
    """A value in a request, and how to say where it stands."""

    value: Any
    field: str
    """For our own words, as in `instances[1].image_bytes`."""
    blame: str = ""
    """How TensorFlow Serving begins what it says about it."""

    def refuse(self, text: str, why: str, at: str = "") -> BadRequestError:
        """Return the error that starts with TensorFlow Serving's text and ends with ours.

        Args:
            text: Its fixed text; may be empty.
            why: What must be there instead.
            at: Where in the field, as in `[3][7]`.
        """
        ours = f"{self.field}{at}: {why}"
        return BadRequestError(f"{self.blame}{text} ({ours})" if text else ours)


def parse_body(body: bytes) -> dict[str, Any]:
    """Read a request as far as it is the same for all methods.

    Raises:
        BadRequestError: Not a JSON object, or its signature's name is no string.
        PayloadTooLargeError: It would unfold to too much.
    """
    if not body:
        raise BadRequestError("JSON Parse error: The document is empty")
    try:
        document = parse_json(body)
    except orjson.JSONDecodeError as error:
        raise BadRequestError(f"JSON Parse error: {error}") from None
    if not isinstance(document, dict):
        raise BadRequestError(f"JSON Value: {quote(document)} Is not object")
    if not isinstance(document.get("signature_name", ""), str):
        raise BadRequestError(
            f"JSON Value: {quote(document)} not formatted correctly. 'signature_name' key must be a string value."
        )
    return document


def quote(value: Any) -> str:
    """Return a value as JSON, indented as TensorFlow Serving does it; the end of a long one is left out."""
    text = ""
    for chunk in json.JSONEncoder(ensure_ascii=False, indent=4).iterencode(value):
        text += chunk[: _QUOTED_MAX + 1]
        if len(text) > _QUOTED_MAX:
            return f"{text[:_QUOTED_MAX]}…"
    return text


def json_type(value: Any) -> str:
    """Return what TensorFlow Serving calls the type of a JSON value."""
    return str(value) if isinstance(value, bool) else _TYPES[type(value)]


def wrong_type(value: Any, expected: str) -> str:
    """Return TensorFlow Serving's text for a value that cannot be in a tensor of type `expected`."""
    return f"JSON Value: {quote(value)} Type: {json_type(value)} is not of expected type: {expected}"


def is_b64(value: Any) -> bool:
    """Tell whether a value is a string of bytes: an object whose only key is `b64`."""
    return isinstance(value, dict) and len(value) == 1 and isinstance(value.get("b64"), str)


def decode_b64(text: str) -> bytes:
    """Return the bytes of a text in base64; as in TensorFlow Serving it may be wrapped, and padding may be missing.

    Raises:
        ValueError: It is not base64.
    """
    try:
        return decode_base64(text)
    except ValueError:
        packed = text.translate(_SPACES)
        if not packed.endswith("="):
            packed += "=" * (-len(packed) % 4)
        return decode_base64(packed)


def read_image(element: Element) -> bytes:
    """Return the encoded image that stands in a request as `{"b64": "…"}`.

    Raises:
        BadRequestError: It is something else.
    """
    value = element.value
    if is_b64(value):
        try:
            return decode_b64(value["b64"])
        except ValueError:
            raise element.refuse("Unable to base64 decode", "is not base64") from None
    wanted = "must be an image as {'b64': '…'}"
    if isinstance(value, dict):
        raise element.refuse(f"JSON Value: {quote(value)} not formatted correctly for base64 data", wanted)
    if isinstance(value, list | str):  # Of the right type for TensorFlow Serving; only its model would refuse it.
        raise element.refuse("", f"{wanted}, not {'a list' if isinstance(value, list) else 'a plain string'}")
    raise element.refuse(wrong_type(value, "string"), wanted)
