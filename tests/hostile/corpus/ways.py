"""The ways to ask about an image, and the bodies that they take."""

from __future__ import annotations

import json
import struct
from base64 import b64encode
from collections.abc import Callable, Mapping
from typing import Any

from .item import BINARY, BOUNDARY, CLASSIFY, EXAMPLES, FORM, HEADER_LENGTH, INFER, JSON, PREDICT, Item

_ABOUT_AN_IMAGE = r"(the image |the bytes are not an image)"


def form(*parts: tuple[str, bytes], end: bytes = b"--\r\n") -> bytes:
    """Return a body of `multipart/form-data`.

    Args:
        parts: For each its headers, and what is in it.
        end: What follows the last boundary.
    """
    pieces = [f"--{BOUNDARY}\r\n{head}\r\n\r\n".encode() + data + b"\r\n" for head, data in parts]
    return b"".join(pieces) + f"--{BOUNDARY}".encode() + end


def file_head(name: str = "image", filename: str = "x.png") -> str:
    return f'Content-Disposition: form-data; name="{name}"; filename="{filename}"\r\nContent-Type: image/png'


def infer_body(tensor: Mapping[str, Any], **more: Any) -> bytes:
    return json.dumps({"inputs": [tensor], **more}).encode()


def images_tensor(**changes: Any) -> dict[str, Any]:
    return {"name": "image_bytes", "datatype": "BYTES", "shape": [1], **changes}


def with_binary(tensor: Mapping[str, Any], binary: bytes, **parameters: Any) -> tuple[bytes, dict[str, str]]:
    """Return the body and the headers of a request with binary data."""
    head = infer_body({**tensor, "parameters": {"binary_data_size": len(binary), **parameters}})
    return head + binary, {**BINARY, HEADER_LENGTH: str(len(head))}


def ways_to_ask() -> dict[str, Callable[[bytes], Item]]:
    """Return the ways to ask about an image; what is refused begins with where the image stands."""

    def binary(data: bytes) -> Item:
        body, headers = with_binary(images_tensor(), struct.pack("<I", len(data)) + data)
        return Item("v2 in binary", INFER, body, headers, says=rf"^inputs\[0\], element 0: {_ABOUT_AN_IMAGE}")

    def of_json(path: str, document: Callable[[str], Any], where: str) -> Callable[[bytes], Item]:
        def ask(data: bytes) -> Item:
            body = json.dumps(document(b64encode(data).decode())).encode()
            return Item(path, path, body, JSON, says=f"^{where}: {_ABOUT_AN_IMAGE}")

        return ask

    return {
        "raw": lambda data: Item(
            "raw", CLASSIFY, data, {"Content-Type": "image/png"}, says=rf"^({_ABOUT_AN_IMAGE}|the body is empty)"
        ),
        "form": lambda data: Item("form", CLASSIFY, form((file_head(), data)), FORM, says=f"^{_ABOUT_AN_IMAGE}"),
        "row": of_json(PREDICT, lambda text: {"instances": [{"b64": text}]}, r"instances\[0\]"),
        "column": of_json(
            PREDICT, lambda text: {"inputs": {"image_bytes": [{"b64": text}]}}, r"inputs\.image_bytes\[0\]"
        ),
        "example": of_json(
            EXAMPLES, lambda text: {"examples": [{"image_bytes": {"b64": text}}]}, r"examples\[0\]\.image_bytes"
        ),
        "v2": of_json(INFER, lambda text: {"inputs": [images_tensor(data=[text])]}, r"inputs\[0\]\.data\[0\]"),
        "v2 in binary": binary,
        "v2 raw": lambda data: Item(
            "v2 raw", INFER, data, {**BINARY, HEADER_LENGTH: "0"}, says=f"^the body: {_ABOUT_AN_IMAGE}"
        ),
    }
