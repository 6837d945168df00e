"""Parse what all requests of TensorFlow Serving's REST API share: the JSON object, its base64, quoted values in errors.

Where TensorFlow Serving has a fixed text for an error, the message begins with it, and names the field in brackets.
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
"""The signature of a request that names none."""

_MAX_QUOTED_CHARS = 500
"""Characters of a value quoted in an error; TensorFlow Serving quotes all of it."""

_SPACES = str.maketrans("", "", " \t\n\v\f\r")

_TYPES = {type(None): "Null", dict: "Object", list: "Array", str: "String", int: "Number", float: "Number"}


@dataclass(frozen=True)
class Element:
    """A value in a request, with its path for error messages."""

    value: Any
    field: str
    """Its path, as in `instances[1].image_bytes`."""
    blame: str = ""
    """Prefix of TensorFlow Serving's error messages about it."""

    def reject(self, text: str, reason: str, at: str = "") -> BadRequestError:
        """Return an error that begins with TensorFlow Serving's text.

        Args:
            text: Its fixed text; may be empty.
            reason: What is expected instead.
            at: Indices within the field, as in `[3][7]`.
        """
        ours = f"{self.field}{at}: {reason}"
        return BadRequestError(f"{self.blame}{text} ({ours})" if text else ours)


def parse_body(body: bytes) -> dict[str, Any]:
    """Parse the parts of a request that all methods share.

    Raises:
        BadRequestError: It is not a JSON object, or `signature_name` is not a string.
        PayloadTooLargeError: It has too many values.
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
    """Return a value as JSON, indented as in TensorFlow Serving; a long one is truncated."""
    text = ""
    for chunk in json.JSONEncoder(ensure_ascii=False, indent=4).iterencode(value):
        text += chunk[: _MAX_QUOTED_CHARS + 1]
        if len(text) > _MAX_QUOTED_CHARS:
            return f"{text[:_MAX_QUOTED_CHARS]}…"
    return text


def json_type(value: Any) -> str:
    """Return TensorFlow Serving's name of the type of a JSON value."""
    return str(value) if isinstance(value, bool) else _TYPES[type(value)]


def wrong_type(value: Any, expected: str) -> str:
    """Return TensorFlow Serving's error for a value that does not fit a tensor of type `expected`."""
    return f"JSON Value: {quote(value)} Type: {json_type(value)} is not of expected type: {expected}"


def is_b64(value: Any) -> bool:
    """Return whether a value is an object whose only key is `b64`, which stands for bytes."""
    return isinstance(value, dict) and len(value) == 1 and isinstance(value.get("b64"), str)


def decode_b64(text: str) -> bytes:
    """Return the bytes that base64 encodes; as in TensorFlow Serving, line breaks and missing padding are accepted.

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
    """Return the encoded image of a value `{"b64": "…"}`.

    Raises:
        BadRequestError: The value is something else.
    """
    value = element.value
    if is_b64(value):
        try:
            return decode_b64(value["b64"])
        except ValueError:
            raise element.reject("Unable to base64 decode", "is not base64") from None
    expected = "must be an image as {'b64': '…'}"
    if isinstance(value, dict):
        raise element.reject(f"JSON Value: {quote(value)} not formatted correctly for base64 data", expected)
    if isinstance(value, list | str):  # The type is right for TensorFlow Serving; only its model rejects the value.
        raise element.reject("", f"{expected}, not {'a list' if isinstance(value, list) else 'a plain string'}")
    raise element.reject(wrong_type(value, "string"), expected)
