"""Bodies that come compressed: what they are inflated to is bounded like what comes plain."""

from __future__ import annotations

import asyncio
import zlib

from starlette.requests import Request

from .admission import Permit
from .errors import BadRequestError, PayloadTooLargeError, UnsupportedMediaTypeError

_PIECE = 2**20
"""Bytes inflated at a time, in a thread; between two pieces the bounds are looked at, and others get their turn."""

_WINDOWS = {"gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
"""What zlib has to be told for each encoding; HTTP's `deflate` is zlib's own format."""


async def inflate(request: Request, body: bytes, permit: Permit, max_bytes: int) -> bytes:
    """Return the body as it was before its `Content-Encoding`, reserving memory for it.

    Raises:
        UnsupportedMediaTypeError: The encoding is another one than gzip and deflate, or more than one.
        BadRequestError: The body is broken, or goes on behind its end.
        PayloadTooLargeError: Inflated it is longer than the limit.
        OverloadedError: The process holds too many bytes already.
    """
    encoding = request.headers.get("content-encoding", "").strip().lower()
    if encoding in ("", "identity"):
        return body
    if encoding not in _WINDOWS:
        raise UnsupportedMediaTypeError(f"Content-Encoding: {encoding!r} is not taken; send gzip, deflate or none")
    inflater = zlib.decompressobj(_WINDOWS[encoding])
    inflated, rest = bytearray(), body
    while not inflater.eof:
        try:
            piece = await asyncio.to_thread(inflater.decompress, rest, _PIECE)
        except zlib.error as error:
            raise BadRequestError(f"the body is not {encoding}: {error}") from None
        rest = inflater.unconsumed_tail
        if not piece and not rest and not inflater.eof:
            raise BadRequestError(f"the body is not {encoding}: it ends too early")
        if len(inflated) + len(piece) > max_bytes:
            raise PayloadTooLargeError(f"the body has more than {max_bytes} bytes when inflated, which is the limit")
        permit.reserve(len(piece))
        inflated += piece
    if inflater.unused_data:
        raise BadRequestError(f"the body goes on behind the end of its {encoding} data")
    return bytes(inflated)
