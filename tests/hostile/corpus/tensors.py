"""Tensors of the Open Inference Protocol that are not what they say."""

from __future__ import annotations

import json
import struct
from base64 import b64encode
from collections.abc import Iterator
from typing import Any

from tests.hostile.images import sound_images

from .item import BINARY, HEADER_LENGTH, INFER, JSON, Item
from .ways import images_tensor, infer_body, with_binary


def tensors() -> Iterator[Item]:
    """Yield requests of the Open Inference Protocol whose tensors are not what they say."""
    png = sound_images()["png"]
    text = b64encode(png).decode()
    shapes: list[Any] = [
        [],
        [0],
        [-1],
        [-(2**63)],
        [2**31],
        [2**63 - 1],
        [1.0],
        ["1"],
        [True],
        [None],
        [[1]],
        [2],
        [1, 2],
    ]
    shapes += [[1, 0], [1, 1, 1], [1, -1], [65], [1] * 10_000, [0] * 1000, {}, "1", 1, None, [1e308], [[]], [10**18]]
    for number, shape in enumerate(shapes):
        body = infer_body(images_tensor(shape=shape, data=[text]))
        yield Item(f"shape {number}, {str(shape)[:40]}", INFER, body, JSON, says=r"^inputs\[0\]\.(shape|data)")
    for datatype in ("", "bytes", "STRING", "UINT8", "INT8", "FP32", "FP16", "BF16", "BOOL", "INT64", "x" * 10_000):
        body = infer_body(images_tensor(datatype=datatype, data=[text]))
        yield Item(f"datatype {datatype[:20]}", INFER, body, JSON, says=r"^inputs\[0\]\.datatype: ")
    for name in ("", "image", "IMAGE_BYTES", "scores", "pixels", "../image_bytes", "x" * 10_000, "image_bytes\0"):
        body = infer_body(images_tensor(name=name, data=[text]))
        yield Item(f"input {name[:20]!r}", INFER, body, JSON, says=r"^inputs\[0\]\.(name|datatype): ")
    for name, outputs in {
        "unknown": [{"name": "logits"}],
        "twice": [{"name": "scores"}] * 2,
        "a thousand times": [{"name": "scores"}] * 1000,
        "no list": {"name": "scores"},
        "in shared memory": [{"name": "scores", "parameters": {"shared_memory_region": "x"}}],
        "of -1 classes": [{"name": "scores", "parameters": {"classification": -1}}],
        "of no classes": [{"name": "scores", "parameters": {"classification": 0}}],
        "of half a class": [{"name": "scores", "parameters": {"classification": 0.5}}],
        "in perhaps binary": [{"name": "scores", "parameters": {"binary_data": "perhaps"}}],
    }.items():
        body = infer_body(images_tensor(data=[text]), outputs=outputs)
        yield Item(f"outputs {name}", INFER, body, JSON, says="^outputs")
    body = infer_body(images_tensor(data=[text]), outputs=[{"name": "scores", "parameters": {"classification": 2**62}}])
    yield Item("outputs of 2^62 classes", INFER, body, JSON, True)
    body = infer_body(
        {**images_tensor(), "parameters": {"shared_memory_region": "x", "shared_memory_byte_size": 2**40}}
    )
    yield Item("an input in shared memory", INFER, body, JSON, says="shared memory is not supported")
    yield Item(
        "two inputs", INFER, json.dumps({"inputs": [images_tensor(data=[text])] * 2}).encode(), JSON, says="^inputs: "
    )
    yield Item("1000 inputs", INFER, json.dumps({"inputs": [images_tensor()] * 1000}).encode(), JSON, says="^inputs: ")

    whole = struct.pack("<I", len(png)) + png
    for size in (0, 1, len(png) - 1, len(png) + 1, 2**31 - 1, 2**31, 2**32 - 1):
        body, headers = with_binary(images_tensor(), struct.pack("<I", size) + png)
        yield Item(f"a binary element that says {size}", INFER, body, headers, says=r"^inputs\[0\]: |element 0")
    body, headers = with_binary(images_tensor(), struct.pack(">I", len(png)) + png)
    yield Item("a binary length whose bytes are turned", INFER, body, headers, says=r"^inputs\[0\]: element 0")
    for end in (0, 1, 2, 3, 4, len(whole) - 1):
        body, headers = with_binary(images_tensor(), whole[:end])
        yield Item(f"binary data of {end} bytes", INFER, body, headers, says=r"^inputs\[0\]")
    body, headers = with_binary(images_tensor(shape=[64]), struct.pack("<I", 0) * 64)
    yield Item("64 empty binary elements", INFER, body, headers, says="the image is empty")
    body, headers = with_binary(images_tensor(), whole + whole)
    yield Item("one binary element too many", INFER, body, headers, says="left over behind 1 elements")
    body, headers = with_binary(images_tensor(data=[text]), whole)
    yield Item("binary data and data", INFER, body, headers, says=r"^inputs\[0\]\.data: ")
    body, headers = with_binary(images_tensor(), whole, content_type="base64")
    yield Item(
        "binary data that should be base64", INFER, body, headers, says=r"^inputs\[0\], element 0: is not base64"
    )
    for size in (-1, 0, 1, 2**31, 2**63, 1.5, "7", None, True, [], len(whole) - 1):
        body, headers = with_binary(images_tensor(), whole, binary_data_size=size)
        yield Item(f"binary_data_size {size}", INFER, body, headers, says=r"^inputs\[0\]\.parameters\.binary_data_size")
    body, headers = with_binary(images_tensor(), whole)
    length = int(headers[HEADER_LENGTH])
    for value in (
        "",
        "-1",
        "+5",
        " ",
        "1e3",
        "0x10",
        "1.0",
        "1_000",
        "None",
        "9" * 5000,
        "٣".encode().decode("latin-1"),
        str(len(body) + 1),
        str(2**64),
    ):
        yield Item(
            f"header length {value[:20]!r}", INFER, body, {**BINARY, HEADER_LENGTH: value}, says=f"^{HEADER_LENGTH}: "
        )
    for value in range(1, length, 7):
        item = Item(f"header length {value} of {length}", INFER, body, {**BINARY, HEADER_LENGTH: str(value)})
        yield item
    yield Item("header length with all data", INFER, body, {**BINARY, HEADER_LENGTH: str(len(body))})
    yield Item("header length 0 before JSON", INFER, body, {**BINARY, HEADER_LENGTH: "0"}, says="^the body: ")
    for end in range(1, len(body), 97):
        yield Item(f"binary request cut at {end}", INFER, body[:end], headers)
