"""Bodies that are compressed, more or less."""

from __future__ import annotations

import gzip
import random
import zlib
from base64 import b64encode
from collections.abc import Iterator

from tests.hostile.images import SEED, sound_images

from .item import CLASSIFY, EXAMPLES, INFER, JSON, PREDICT, Item
from .ways import images_tensor, infer_body


def compressed() -> Iterator[Item]:
    """Yield bodies that are compressed, more or less."""
    body = infer_body(images_tensor(data=[b64encode(sound_images()["png"]).decode()]))
    packed = gzip.compress(body, mtime=0)
    zipped = {**JSON, "Content-Encoding": "gzip"}
    for megabytes in (2, 64):
        bomb = gzip.compress(bytes(megabytes * 2**20 + 1), 9, mtime=0)
        yield Item(
            f"gzip of {megabytes} MiB of zeros", INFER, bomb, zipped, says="the decompressed body is over the limit of"
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
    yield Item("two members of gzip", INFER, packed + packed, zipped, says="bytes follow the gzip data of the body")
    yield Item("gzip and more", INFER, packed + b"more", zipped, says="bytes follow the gzip data of the body")
    data = packed[:10] + b"\0\0\0\xff\xff" * 100_000
    yield Item("gzip of 100,000 empty blocks", INFER, data, zipped, says="^the body is not gzip: ")
    bare = zlib.compressobj(9, zlib.DEFLATED, -15)
    raw = bare.compress(body) + bare.flush()
    yield Item(
        "deflate without its head",
        INFER,
        raw,
        {**JSON, "Content-Encoding": "deflate"},
        says="^the body is not deflate: ",
    )
    yield Item(
        "gzip that says deflate",
        INFER,
        packed,
        {**JSON, "Content-Encoding": "deflate"},
        says="^the body is not deflate: ",
    )
    for encoding in ("br", "zstd", "compress", "gzip, gzip", "gzip;q=1", "gzip,", "x", "x" * 5000, "chunked", "*"):
        headers = {**JSON, "Content-Encoding": encoding}
        yield Item(f"Content-Encoding {encoding[:20]}", INFER, packed, headers, says="^Content-Encoding: ")
    for path in (PREDICT, EXAMPLES, CLASSIFY):
        yield Item(f"gzip for {path}", path, packed, {"Content-Encoding": "gzip"})
