"""Requests that nobody should send, for every route that takes a body; the same ones each time."""

from __future__ import annotations

import gzip
import itertools
import json
import random
import struct
import zlib
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from .documents import hostile_texts, sound_documents
from .images import SEED, Picture, hostile_pictures, of_other_formats, sound_pictures

MODEL = "/v1/models/xception"
PREDICT, EXAMPLES, REGRESS = f"{MODEL}:predict", f"{MODEL}:classify", f"{MODEL}:regress"
INFER = "/v2/models/xception/infer"
CLASSIFY = "/classify"
INDEX = "/v2/repository/index"

HEADER_LENGTH = "Inference-Header-Content-Length"
_JSON = {"Content-Type": "application/json"}
_BINARY = {"Content-Type": "application/octet-stream"}
_BOUNDARY = "a-boundary"
_FORM = {"Content-Type": f"multipart/form-data; boundary={_BOUNDARY}"}

_SIZE = 71
"""Height and width that the demo model takes."""

_ABOUT_AN_IMAGE = r"(the image |the bytes are not an image)"


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


def corpus() -> list[Item]:
    """Return all of them, in an order in which neighbours have nothing in common."""
    items = [*_pictures(), *_documents(), *_base64(), *_tensors(), *_pixels(), *_compressed(), *_forms()]
    items += [*_media_types(), *_headers(), *_queries(), *_paths(), *_large()]
    random.Random(SEED).shuffle(items)
    return items


def form(*parts: tuple[str, bytes], end: bytes = b"--\r\n") -> bytes:
    """Return a body of `multipart/form-data`.

    Args:
        parts: For each its headers, and what is in it.
        end: What follows the last boundary.
    """
    pieces = [f"--{_BOUNDARY}\r\n{head}\r\n\r\n".encode() + data + b"\r\n" for head, data in parts]
    return b"".join(pieces) + f"--{_BOUNDARY}".encode() + end


def _file(name: str = "image", filename: str = "x.png") -> str:
    return f'Content-Disposition: form-data; name="{name}"; filename="{filename}"\r\nContent-Type: image/png'


def _infer(tensor: Mapping[str, Any], **more: Any) -> bytes:
    return json.dumps({"inputs": [tensor], **more}).encode()


def _images_tensor(**changes: Any) -> dict[str, Any]:
    return {"name": "image_bytes", "datatype": "BYTES", "shape": [1], **changes}


def _with_binary(tensor: Mapping[str, Any], binary: bytes, **parameters: Any) -> tuple[bytes, dict[str, str]]:
    """Return the body and the headers of a request with binary data."""
    head = _infer({**tensor, "parameters": {"binary_data_size": len(binary), **parameters}})
    return head + binary, {**_BINARY, HEADER_LENGTH: str(len(head))}


def _ways() -> dict[str, Callable[[bytes], Item]]:
    """Return the ways to ask about an image; what is refused begins with where the image stands."""

    def binary(data: bytes) -> Item:
        body, headers = _with_binary(_images_tensor(), struct.pack("<I", len(data)) + data)
        return Item("v2 in binary", INFER, body, headers, says=rf"^inputs\[0\], element 0: {_ABOUT_AN_IMAGE}")

    def of_json(path: str, document: Callable[[str], Any], where: str) -> Callable[[bytes], Item]:
        def ask(data: bytes) -> Item:
            body = json.dumps(document(b64encode(data).decode())).encode()
            return Item(path, path, body, _JSON, says=f"^{where}: {_ABOUT_AN_IMAGE}")

        return ask

    return {
        "raw": lambda data: Item(
            "raw", CLASSIFY, data, {"Content-Type": "image/png"}, says=rf"^({_ABOUT_AN_IMAGE}|the body is empty)"
        ),
        "form": lambda data: Item("form", CLASSIFY, form((_file(), data)), _FORM, says=f"^{_ABOUT_AN_IMAGE}"),
        "row": of_json(PREDICT, lambda text: {"instances": [{"b64": text}]}, r"instances\[0\]"),
        "column": of_json(
            PREDICT, lambda text: {"inputs": {"image_bytes": [{"b64": text}]}}, r"inputs\.image_bytes\[0\]"
        ),
        "example": of_json(
            EXAMPLES, lambda text: {"examples": [{"image_bytes": {"b64": text}}]}, r"examples\[0\]\.image_bytes"
        ),
        "v2": of_json(INFER, lambda text: {"inputs": [_images_tensor(data=[text])]}, r"inputs\[0\]\.data\[0\]"),
        "v2 in binary": binary,
        "v2 raw": lambda data: Item(
            "v2 raw", INFER, data, {**_BINARY, HEADER_LENGTH: "0"}, says=f"^the body: {_ABOUT_AN_IMAGE}"
        ),
    }


def _pictures() -> Iterator[Item]:
    """Ask about each picture in one way, and about those of other formats in all."""

    def ask(picture: Picture, way: str) -> Item:
        item = ways[way](picture.data)
        return Item(f"{picture.name}, {way}", item.path, item.body, item.headers, picture.harmless, item.says)

    ways = _ways()
    for picture, way in zip(hostile_pictures(), itertools.cycle(ways), strict=False):
        yield ask(picture, way)
    for picture in of_other_formats(sound_pictures()):
        for way in ways:
            yield ask(Picture(f"once more {picture.name}", picture.data, picture.harmless), way)


def _documents() -> Iterator[Item]:
    paths = {"predict": PREDICT, "classify": EXAMPLES, "infer": INFER}
    for name, sound in sound_documents(sound_pictures()["png"]).items():
        no_json = "^the request is not JSON: " if name == "infer" else "^JSON Parse error: "
        for text in hostile_texts(sound):
            says = no_json if text.broken else ""
            yield Item(f"{name}: {text.name}", paths[name], text.body, _JSON, text.harmless, says)
            if text.broken and text.name.startswith("cut at 1"):
                yield Item(f"regress, {name}: {text.name}", REGRESS, text.body, _JSON, says="^JSON Parse error: ")
    for name, body in {
        "no JSON": b"{",
        "a list": b"[]",
        "a text": b'{"ready": "yes"}',
        "a number": b'{"ready": 1}',
        "null": b'{"ready": null}',
        "deep": b"[" * 100_000,
        "NaN": b'{"ready": NaN}',
        "UTF-16": '{"ready": true}'.encode("utf-16"),
    }.items():
        yield Item(f"index: {name}", INDEX, body, _JSON)


def _base64() -> Iterator[Item]:
    data = sound_pictures()["png"]
    text = b64encode(data).decode()
    half = len(text) // 2
    texts: dict[str, tuple[str, bool]] = {
        "of the URL-safe alphabet": (urlsafe_b64encode(data).decode(), False),
        "wrapped": ("\n".join(text[at : at + 76] for at in range(0, len(text), 76)), True),
        "with a space": (f"{text[:half]} {text[half:]}", True),
        "with a NUL": (f"{text[:half]}\0{text[half:]}", False),
        "with a no-break space": (f"{text[:half]}\u00a0{text[half:]}", False),
        "with full-width letters": (f"{text[:half]}\uff21{text[half + 1 :]}", False),
        "padded inside": (f"{text[:half]}={text[half:]}", False),
        "padded too much": (f"{text}====", True),
        "of one letter": ("A", False),
        "of padding alone": ("====", False),
        "with a letter too many": (text.rstrip("=") + "AAAAA"[: 5 - len(text.rstrip("=")) % 4], False),
        "twice": (b64encode(text.encode()).decode(), False),
        "of a data URL": (f"data:image/png;base64,{text}", False),
        "percent-encoded": (text.replace("+", "%2B").replace("/", "%2F"), False),
        "in hexadecimal": (data.hex(), False),
        "of spaces": (" " * 100, False),
        "of text in Chinese": ("漢字" * 50, False),
        "of a path": ("/etc/passwd", False),
    }
    for name, (value, harmless) in texts.items():
        for path, document, says in (
            (PREDICT, {"instances": [{"b64": value}]}, r"instances\[0\]: "),
            (EXAMPLES, {"examples": [{"image_bytes": {"b64": value}}]}, r"examples\[0\]\.image_bytes"),
            (INFER, {"inputs": [_images_tensor(data=[value])]}, r"^inputs\[0\]\.data\[0\]: "),
        ):
            yield Item(f"base64 {name}, {path}", path, json.dumps(document).encode(), _JSON, harmless, says)


def _tensors() -> Iterator[Item]:
    """Yield requests of the Open Inference Protocol whose tensors are not what they say."""
    png = sound_pictures()["png"]
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
        body = _infer(_images_tensor(shape=shape, data=[text]))
        yield Item(f"shape {number}, {str(shape)[:40]}", INFER, body, _JSON, says=r"^inputs\[0\]\.(shape|data)")
    for datatype in ("", "bytes", "STRING", "UINT8", "INT8", "FP32", "FP16", "BF16", "BOOL", "INT64", "x" * 10_000):
        body = _infer(_images_tensor(datatype=datatype, data=[text]))
        yield Item(f"datatype {datatype[:20]}", INFER, body, _JSON, says=r"^inputs\[0\]\.datatype: ")
    for name in ("", "image", "IMAGE_BYTES", "scores", "pixels", "../image_bytes", "x" * 10_000, "image_bytes\0"):
        body = _infer(_images_tensor(name=name, data=[text]))
        yield Item(f"input {name[:20]!r}", INFER, body, _JSON, says=r"^inputs\[0\]\.(name|datatype): ")
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
        body = _infer(_images_tensor(data=[text]), outputs=outputs)
        yield Item(f"outputs {name}", INFER, body, _JSON, says="^outputs")
    body = _infer(_images_tensor(data=[text]), outputs=[{"name": "scores", "parameters": {"classification": 2**62}}])
    yield Item("outputs of 2^62 classes", INFER, body, _JSON, True)
    body = _infer({**_images_tensor(), "parameters": {"shared_memory_region": "x", "shared_memory_byte_size": 2**40}})
    yield Item("an input in shared memory", INFER, body, _JSON, says="shared memory is not supported")
    yield Item(
        "two inputs", INFER, json.dumps({"inputs": [_images_tensor(data=[text])] * 2}).encode(), _JSON, says="^inputs: "
    )
    yield Item(
        "1000 inputs", INFER, json.dumps({"inputs": [_images_tensor()] * 1000}).encode(), _JSON, says="^inputs: "
    )

    whole = struct.pack("<I", len(png)) + png
    for size in (0, 1, len(png) - 1, len(png) + 1, 2**31 - 1, 2**31, 2**32 - 1):
        body, headers = _with_binary(_images_tensor(), struct.pack("<I", size) + png)
        yield Item(f"a binary element that says {size}", INFER, body, headers, says=r"^inputs\[0\]: |element 0")
    body, headers = _with_binary(_images_tensor(), struct.pack(">I", len(png)) + png)
    yield Item("a binary length whose bytes are turned", INFER, body, headers, says=r"^inputs\[0\]: element 0")
    for end in (0, 1, 2, 3, 4, len(whole) - 1):
        body, headers = _with_binary(_images_tensor(), whole[:end])
        yield Item(f"binary data of {end} bytes", INFER, body, headers, says=r"^inputs\[0\]")
    body, headers = _with_binary(_images_tensor(shape=[64]), struct.pack("<I", 0) * 64)
    yield Item("64 empty binary elements", INFER, body, headers, says="the image is empty")
    body, headers = _with_binary(_images_tensor(), whole + whole)
    yield Item("one binary element too many", INFER, body, headers, says="left over behind 1 elements")
    body, headers = _with_binary(_images_tensor(data=[text]), whole)
    yield Item("binary data and data", INFER, body, headers, says=r"^inputs\[0\]\.data: ")
    body, headers = _with_binary(_images_tensor(), whole, content_type="base64")
    yield Item(
        "binary data that should be base64", INFER, body, headers, says=r"^inputs\[0\], element 0: is not base64"
    )
    for size in (-1, 0, 1, 2**31, 2**63, 1.5, "7", None, True, [], len(whole) - 1):
        body, headers = _with_binary(_images_tensor(), whole, binary_data_size=size)
        yield Item(f"binary_data_size {size}", INFER, body, headers, says=r"^inputs\[0\]\.parameters\.binary_data_size")
    body, headers = _with_binary(_images_tensor(), whole)
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
            f"header length {value[:20]!r}", INFER, body, {**_BINARY, HEADER_LENGTH: value}, says=f"^{HEADER_LENGTH}: "
        )
    for value in range(1, length, 7):
        item = Item(f"header length {value} of {length}", INFER, body, {**_BINARY, HEADER_LENGTH: str(value)})
        yield item
    yield Item("header length with all data", INFER, body, {**_BINARY, HEADER_LENGTH: str(len(body))})
    yield Item("header length 0 before JSON", INFER, body, {**_BINARY, HEADER_LENGTH: "0"}, says="^the body: ")
    for end in range(1, len(body), 97):
        yield Item(f"binary request cut at {end}", INFER, body[:end], headers)


def _pixels() -> Iterator[Item]:
    """Yield pixels that are none, or not as many as they should be."""
    row = [[7, 8, 9]] * _SIZE
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
    images: dict[str, Any] = {name: [*[row] * (_SIZE - 1), [*row[1:], [7, value, 9]]] for name, value in wrong.items()}
    images |= {
        "a row missing": [row] * (_SIZE - 1),
        "a row too many": [row] * (_SIZE + 1),
        "a short row": [*[row] * (_SIZE - 1), row[1:]],
        "two channels": [[[7, 8]] * _SIZE] * _SIZE,
        "no rows": [],
        "empty rows": [[]] * _SIZE,
        "an object": {"0": row},
        "a text": "pixels",
        "flat": [7] * (_SIZE * _SIZE * 3),
        "flat and short": [7] * (_SIZE * _SIZE * 3 - 1),
    }
    for name, image in images.items():
        document = {"signature_name": "pixels", "instances": [image]}
        body = json.dumps(document).encode()
        yield Item(f"pixels: {name}", PREDICT, body, _JSON, says="instances")
        tensor = {"name": "pixels", "datatype": "UINT8", "shape": [1, _SIZE, _SIZE, 3], "data": [image]}
        says = r"^inputs\[0\]\.data"
        yield Item(f"v2 pixels: {name}", INFER, _infer(tensor), _JSON, says=says)
    for size in (0, 1, _SIZE * _SIZE * 3 - 1, _SIZE * _SIZE * 3 + 1, 10**6):
        tensor = {"name": "pixels", "datatype": "UINT8", "shape": [1, _SIZE, _SIZE, 3]}
        body, headers = _with_binary(tensor, bytes(size))
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
        body, headers = _with_binary({"name": "pixels", "datatype": "UINT8", "shape": shape}, bytes(_SIZE * _SIZE * 3))
        yield Item(f"pixels of shape {shape}", INFER, body, headers, says=r"^inputs\[0\]\.shape: ")


def _compressed() -> Iterator[Item]:
    """Yield bodies that are compressed, more or less."""
    body = _infer(_images_tensor(data=[b64encode(sound_pictures()["png"]).decode()]))
    packed = gzip.compress(body, mtime=0)
    zipped = {**_JSON, "Content-Encoding": "gzip"}
    for megabytes in (2, 64):
        bomb = gzip.compress(bytes(megabytes * 2**20 + 1), 9, mtime=0)
        yield Item(
            f"gzip of {megabytes} MiB of zeros", INFER, bomb, zipped, says="bytes when inflated, which is the limit"
        )
    twice = gzip.compress(gzip.compress(bytes(2**26), 9, mtime=0), 9, mtime=0)
    yield Item("gzip in gzip", INFER, twice, zipped, says="^the request is not JSON: ")
    spaces = gzip.compress(b" " * (2 * 2**20), 9, mtime=0)
    yield Item("gzip of spaces", INFER, spaces, zipped, says="^the request is not JSON: ")
    deep = gzip.compress(b"[" * (2 * 2**20), 9, mtime=0)
    yield Item("gzip of brackets", INFER, deep, zipped, says="^the request is not JSON: ")
    for end in sorted({*range(20), *range(20, len(packed), 53), *range(len(packed) - 10, len(packed))}):
        yield Item(f"gzip cut at {end}", INFER, packed[:end], zipped, says="^the body is not gzip: ")
    draw = random.Random(SEED)
    for number in range(40):
        changed = bytearray(packed)
        changed[draw.randrange(len(packed))] ^= 1 << draw.randrange(8)
        yield Item(f"gzip with another bit {number}", INFER, bytes(changed), zipped, True)
    yield Item("two members of gzip", INFER, packed + packed, zipped, says="goes on behind the end of its gzip data")
    yield Item("gzip and more", INFER, packed + b"more", zipped, says="goes on behind the end of its gzip data")
    data = packed[:10] + b"\0\0\0\xff\xff" * 100_000
    yield Item("gzip of 100,000 empty blocks", INFER, data, zipped, says="^the body is not gzip: ")
    bare = zlib.compressobj(9, zlib.DEFLATED, -15)
    raw = bare.compress(body) + bare.flush()
    yield Item(
        "deflate without its head",
        INFER,
        raw,
        {**_JSON, "Content-Encoding": "deflate"},
        says="^the body is not deflate: ",
    )
    yield Item(
        "gzip that says deflate",
        INFER,
        packed,
        {**_JSON, "Content-Encoding": "deflate"},
        says="^the body is not deflate: ",
    )
    for encoding in ("br", "zstd", "compress", "gzip, gzip", "gzip;q=1", "gzip,", "x", "x" * 5000, "chunked", "*"):
        headers = {**_JSON, "Content-Encoding": encoding}
        yield Item(f"Content-Encoding {encoding[:20]}", INFER, packed, headers, says="^Content-Encoding: ")
    for path in (PREDICT, EXAMPLES, CLASSIFY):
        yield Item(f"gzip for {path}", path, packed, {"Content-Encoding": "gzip"})


def _forms() -> Iterator[Item]:
    """Yield forms, most of them no good."""
    png = sound_pictures()["png"]
    good = form((_file(), png))
    for name, body in {
        "empty": b"",
        "without an end": form((_file(), png), end=b""),
        "cut in the image": good[: len(good) // 2],
        "cut in its headers": good[:60],
        "of another boundary": good.replace(_BOUNDARY.encode(), b"b-boundary"),
        "of line feeds alone": good.replace(b"\r\n", b"\n"),
        "with no part": form(),
        "with no name": form(("Content-Disposition: form-data", png)),
        "with an empty name": form((_file(""), png)),
        "without a disposition": form(("Content-Type: image/png", png)),
        "without headers": form(("", png)),
        "with an image as text": form(('Content-Disposition: form-data; name="image"', b"text")),
        "with a text and the image": form(('Content-Disposition: form-data; name="image"', b"text"), (_file(), png)),
        "with two images": form((_file(), png), (_file(), png)),
        "with an array of images": form((_file("image[]"), png)),
        "with another name": form((_file("picture"), png)),
        "with a name in capitals": form((_file("IMAGE"), png)),
        "of 9 files": form(*[(_file(f"f{number}"), png) for number in range(9)]),
        "of 9 texts": form(*[(f'Content-Disposition: form-data; name="t{number}"', b"x") for number in range(9)]),
        "of 10,000 parts": form(*[('Content-Disposition: form-data; name="t"', b"")] * 10_000),
        "of a text of 1.5 MiB": form(('Content-Disposition: form-data; name="t"', b"x" * (3 * 2**19))),
        "with 100 headers": form(("\r\n".join(f"X-{number}: x" for number in range(100)), png)),
        "with a long header": form((f"X-Long: {'x' * 100_000}", png)),
        "with a broken header": form(("no colon here", png)),
        "with a header of NUL": form(("X-\0: \0", png)),
        "in a form": form((f"Content-Type: multipart/mixed; boundary=x\r\n{_file()}", b"--x\r\n\r\nx\r\n--x--")),
        "in base64": form((f"{_file()}\r\nContent-Transfer-Encoding: base64", b64encode(png))),
        "of boundaries": f"--{_BOUNDARY}\r\n".encode() * 10_000,
        "of carriage returns": b"\r" * 10**6,
        "of hyphens": b"-" * 10**6,
        "with a boundary at each line": form((_file(), f"\r\n--{_BOUNDARY[:-1]}".encode() * 20_000)),
        "of an empty image": form((_file(), b"")),
        "with a name of lone surrogates": form((_file("\\ud800"), png)),
        "with a name that is no UTF-8": form((_file("image"), png)).replace(b'name="image"', b'name="im\xffge"'),
        "with a long name": form((_file("x" * 4000), png)),
    }.items():
        yield Item(f"a form {name}", CLASSIFY, body, _FORM)
    for filename in ("../../etc/passwd", "C:\\x.png", "x" * 3000, "\u202egnp.exe", "", "x\\", "a;b", "%00"):
        body = form((_file(filename=filename), png))
        yield Item(f"a form with the file {filename[:20]!r}", CLASSIFY, body, _FORM, True)
    boundaries = [
        "",
        '""',
        '"',
        "x" * 257,
        "y" * 60_000,
        "a b",
        "\t",
        "a;b",
        '"a\\"b"',
        "\\",
        "*",
        "é",
        f"{_BOUNDARY}\\",
    ]
    for boundary in boundaries:
        headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        yield Item(f"boundary {boundary[:20]!r}", CLASSIFY, good, headers)
    for parameters in (
        "",
        ";",
        "; boundary",
        "; charset=utf-8",
        "; boundary*=utf-8''x",
        "; BOUNDARY",
        f"; x={_BOUNDARY}",
    ):
        yield Item(
            f"multipart/form-data{parameters}", CLASSIFY, good, {"Content-Type": f"multipart/form-data{parameters}"}
        )
    for charset in (
        "utf-7",
        "utf-16",
        "unicode_escape",
        "raw_unicode_escape",
        "punycode",
        "idna",
        "undefined",
        "hex",
        "rot13",
        "zlib",
        "base64",
        "mbcs",
        "cp037",
        "unknown",
        "../codecs",
        "é",
        "x" * 10_000,
        "",
        "charmap",
        "utf-8-sig",
        "bz2",
        "quopri",
    ):
        headers = {"Content-Type": f"multipart/form-data; boundary={_BOUNDARY}; charset={charset}"}
        for name in ("\\ud800", "+2AA-", "xn--a", "a-\x7f", "78"):
            body = form((_file(name), png))
            yield Item(f"charset {charset[:20]} and a name {name!r}", CLASSIFY, body, headers, says=r"^the form ")


def _media_types() -> Iterator[Item]:
    """Ask each route with other content types than it takes."""
    ways = _ways()
    png = sound_pictures()["png"]
    wrong = [
        "text/html",
        "application/xml",
        "application/pdf",
        "video/mp4",
        "multipart/mixed; boundary=x",
        "json",
        "*/*",
        "/",
        "application/json,application/json",
        "multipart/form-data-x",
        "application/x-msgpack",
        "application/grpc",
        "text/json",
        "application/problem+json",
        "x" * 60_000,
        "é/é",
        '"application/json"',
        "application/vnd.api+json",
        "message/http",
        "application/x-protobuf",
    ]
    for way, ask in ways.items():
        item = ask(png)
        for kind in wrong:
            headers = {**item.headers, "Content-Type": kind}
            yield Item(f"{way} as {kind[:30]}", item.path, item.body, headers, says="^Content-Type: ")
    for way, kind in (("row", "image/png"), ("v2", "multipart/form-data; boundary=x"), ("example", "image/jpeg")):
        item = ways[way](png)
        yield Item(f"{way} as {kind}", item.path, item.body, {"Content-Type": kind}, says="^Content-Type: ")
    for kind in ("application/json", "text/plain"):
        yield Item(f"raw as {kind}", CLASSIFY, png, {"Content-Type": kind}, says="^Content-Type: ")
    for kind in (
        "application/json; charset=utf-16",
        "APPLICATION/JSON",
        "application/json;",
        " application/json ",
        ";",
    ):
        item = ways["row"](png)
        yield Item(f"row as {kind}", item.path, item.body, {"Content-Type": kind}, True)
    for kind in ("image/svg+xml", "image/", "image/*", "IMAGE/PNG;x=y", "application/octet-stream; charset=x"):
        yield Item(f"raw as {kind}", CLASSIFY, png, {"Content-Type": kind}, True)


def _headers() -> Iterator[Item]:
    """Ask each route with headers that nobody sends."""
    png = sound_pictures()["png"]
    long = "x" * 60_000
    timeouts = [
        "",
        "0",
        "-1",
        "1.5",
        "1e9",
        "30001",
        "9" * 5000,
        "NaN",
        "٣".encode().decode("latin-1"),
        "²",
        "1 2",
        "0x1",
        "5,5",
    ]
    for way, ask in _ways().items():
        item = ask(png)
        for value in timeouts:
            headers = {**item.headers, "X-Request-Timeout-Ms": value}
            yield Item(f"{way} within {value[:20]!r} ms", item.path, item.body, headers, says="^X-Request-Timeout-Ms: ")
        for value in ("", "urgent", "0", "INTERACTIVE ", "bulk,bulk", "é", long):
            headers = {**item.headers, "X-Request-Priority": value}
            harmless = value.strip().lower() == "interactive"
            yield Item(f"{way} {value[:20]!r}", item.path, item.body, headers, harmless, says="^X-Request-Priority: ")
        for name, value in {
            "X-Request-Id": long,
            "X-Trace": "\xff\xfe",
            "Cookie": long,
            "Authorization": f"Bearer {long}",
            "Range": "bytes=0-0",
            "X-Forwarded-For": "127.0.0.1, " * 1000,
            "X-HTTP-Method-Override": "DELETE",
            "Traceparent": "00-" + "f" * 5000,
            "Accept": "text/html;q=" + "9" * 5000,
            "Accept-Encoding": "gzip, " * 5000,
            "If-None-Match": "*",
            "Origin": "null",
        }.items():
            headers = {**item.headers, name: value}
            yield Item(f"{way} with {name} of {value[:20]!r}", item.path, item.body, headers, True)
        many = {f"X-{number}": "x" for number in range(500)}
        yield Item(f"{way} with 500 headers", item.path, item.body, {**item.headers, **many}, True)


def _queries() -> Iterator[Item]:
    png = sound_pictures()["png"]
    for query, says in {
        "top_k=0": "^top_k: ",
        "top_k=-1": "^top_k: ",
        "top_k=11": "^top_k: ",
        "top_k=": "^top_k: ",
        "top_k=1e1": "^top_k: ",
        "top_k=%00": "^top_k: ",
        "top_k=%D9%A3": "^top_k: ",
        f"top_k={'9' * 5000}": "^top_k: ",
        "top_k=1%0d%0aX-Injected:%20yes": "^top_k: ",
        "version=": "^version: ",
        "version=-1": "^version: ",
        "version=x": "^version: ",
        "version=1.0": "^version: ",
        f"version={'9' * 5000}": "^version: ",
        "version=999999999999999999": "^version 999999999999999999 is not served",
        "version=2": "^version 2 is not served",
        "label=": "^label '' is not served",
        "label=../stable": "is not served",
        "label=%00": "is not served",
        f"label={'x' * 60_000}": "is not served|^label",
        "label=%F0%9F%98%80%ED%A0%80": "is not served",
        "version=1&label=stable": "^version, label: give one of them",
        "unknown=1": "^unknown: no such query parameter",
        f"{'x' * 60_000}=1": "^x+: no such query parameter",
        "%00=1": "no such query parameter",
        "&".join(f"k{number}=1" for number in range(5000)): "^k0: no such query parameter",
        "top_k[]=1": "no such query parameter",
        "top_k=1;version=1": "^top_k: ",
    }.items():
        yield Item(f"classify?{query[:40]}", f"{CLASSIFY}?{query}", png, {"Content-Type": "image/png"}, says=says)
    for query in ("top_k=1&top_k=2", "", "&&&", "version=0001", "label=stable", "#"):
        yield Item(f"classify?{query}", f"{CLASSIFY}?{query}", png, {"Content-Type": "image/png"}, True)


def _paths() -> Iterator[Item]:
    png = sound_pictures()["png"]
    body = json.dumps({"instances": [{"b64": b64encode(png).decode()}]}).encode()
    tensor = _infer(_images_tensor(data=[b64encode(png).decode()]))
    odd = [
        "..",
        "%2e%2e",
        "..%2f..%2fetc%2fpasswd",
        "%00",
        "xception%00",
        "%F0%9F%98%80",
        "%ED%A0%80",
        "%FF",
        "x" * 50_000,
        "%25252e",
        "xception%3Apredict",
        "XCEPTION",
        "xception%20",
        "xception;x=1",
        "*",
        "%0d%0aX-Injected:%20yes",
        "-1",
        "~",
        "1e9",
        "1" * 5000,
        "99999999999999999999",
        "%D9%A3",
        "0x1",
        "$(id)",
        "%7B%7B7*7%7D%7D",
        "'%20OR%201=1--",
        ".",
        "%2E",
    ]
    for part in odd:
        name = part[:30]
        yield Item(f"the model {name} of v1", f"/v1/models/{part}:predict", body, _JSON)
        yield Item(f"the version {name} of v1", f"{MODEL}/versions/{part}:predict", body, _JSON)
        yield Item(f"the label {name} of v1", f"{MODEL}/labels/{part}:classify", body, _JSON)
        yield Item(f"the method {name} of v1", f"{MODEL}:{part}", body, _JSON)
        yield Item(f"the model {name} of v2", f"/v2/models/{part}/infer", tensor, _JSON)
        yield Item(f"the version {name} of v2", f"/v2/models/xception/versions/{part}/infer", tensor, _JSON)
        yield Item(f"to load {name}", f"/v2/repository/models/{part}/load", b"{}", _JSON)
        yield Item(f"to reload {name}", f"/v1/models/{part}/reload", b"", {"Authorization": "Bearer x"})
        yield Item(f"the path /{name}", f"/{part}", body, _JSON)
        yield Item(f"below classify, {name}", f"{CLASSIFY}/{part}", png)
    for path in (
        "/classify/",
        "//classify",
        "/./classify",
        "/CLASSIFY",
        "/classify%2f",
        f"{INFER}/",
        f"/{INFER}",
        f"{PREDICT}/",
        f"{MODEL}/:predict",
        f"{MODEL}:predict:predict",
        "/v1/models/:predict",
        "/v1",
        "/v1/",
        "/v1/models",
        "/v2",
        "/v2/",
        "/v2/models//infer",
        "/v2/models/xception/versions//infer",
        "/metrics",
        "/docs.json",
        "/livez",
        "/",
        "/v1/models/xception/versions/1",
        "/v2/models/xception",
        "/v1/../v2/models/xception/infer",
        "/debug/batching",
    ):
        yield Item(f"the path {path}", path, body, _JSON)


def _large() -> Iterator[Item]:
    """Yield bodies beyond the limit of the service."""
    over = 2 * 2**20 + 1
    for path in (PREDICT, EXAMPLES, REGRESS, INFER, CLASSIFY, INDEX):
        yield Item(f"a body over the limit for {path}", path, b" " * over, says="^the body has")
        yield Item(f"twice the limit for {path}", path, b"\0" * (2 * over), says="^the body has")
    many = {"instances": [{"b64": ""}] * 65}
    yield Item(
        "65 instances", PREDICT, json.dumps(many).encode(), _JSON, says="^instances: has 65 images; the limit is 64"
    )
    crowd = {"instances": [{"b64": "x"}] * 100_000}
    yield Item("100,000 instances", PREDICT, json.dumps(crowd).encode(), _JSON, says="^instances: has 100000 images")
    examples = {"examples": [{f"f{number}": 1 for number in range(1001)}]}
    yield Item(
        "1001 features", EXAMPLES, json.dumps(examples).encode(), _JSON, says=r"^examples\[0\]: has 1001 features"
    )
    tensor = _images_tensor(shape=[10**9], data=[])
    yield Item("10^9 images", INFER, _infer(tensor), _JSON, says=r"^inputs\[0\]\.shape: has 1000000000 images")
