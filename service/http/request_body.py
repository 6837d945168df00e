"""Read the body of a request within its limits, decompress it, and take the image out of a form.

The form parser is Starlette's; `tests/service/http/test_request_body.py` fails when a release moves what is used here.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncGenerator

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import parse_options_header
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from service.core.errors import (
    BadRequestError,
    ClientDisconnectedError,
    PayloadTooLargeError,
    SlowRequestError,
    UnsupportedMediaTypeError,
)
from service.edge.admission import Permit

INVALID_BODY = "xception.invalid_body"
"""Key that `service.server.protocol` sets in the scope of a request whose chunked body is not valid HTTP."""

_CURL_DEFAULT = "application/x-www-form-urlencoded"
"""curl's content type for `-d` and `--data-binary`."""

_SLOT_HOLD_S = 1.0
"""Time for which a request holds its slot while its body arrives; usually that takes some ms."""

_DECOMPRESS_BYTES = 2**20
"""Bytes decompressed at a time, in a thread; limits are checked, and other requests served, in between."""

_WINDOWS = {"gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
"""`wbits` of zlib for each encoding; HTTP's `deflate` is the zlib format."""

_JSON_TYPES = {"", "application/json", "application/octet-stream", "text/plain", _CURL_DEFAULT}
_RAW_TYPES = {"", "application/octet-stream", _CURL_DEFAULT}


def content_type(request: Request) -> str:
    """Return the media type of the body without its parameters, in lower case; empty if there is none."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def read_body(request: Request, permit: Permit, max_bytes: int, timeout_s: float) -> bytes:
    """Read the body, and reserve memory for each chunk that arrives.

    A request whose body is slow releases its slot meanwhile, so that many clients which send nothing but heads do not
    keep others out.

    Raises:
        BadRequestError: Its chunked encoding is invalid.
        PayloadTooLargeError: It is longer than the limit.
        OverloadedError: The memory limit is reached, or the body was slow and no slot is free.
        SlowRequestError: It has not arrived within `timeout_s`.
        DeadlineExceededError: The deadline of the request came first.
        ClientDisconnectedError: The client disconnected before its end.
    """
    body = bytearray()
    slot_timer = asyncio.get_running_loop().call_later(_SLOT_HOLD_S, permit.release_slot)
    try:
        async with asyncio.timeout(min(timeout_s, permit.deadline.remaining_s())):
            async for chunk in request.stream():
                if len(body) + len(chunk) > max_bytes:
                    raise PayloadTooLargeError(f"the body has more than {max_bytes} bytes, which is the limit")
                permit.reserve(len(chunk))
                body += chunk
    except ClientDisconnect:
        raise ClientDisconnectedError from None
    except TimeoutError:
        permit.deadline.check()
        raise SlowRequestError(f"the body did not arrive in time; {len(body)} bytes of it did") from None
    finally:
        slot_timer.cancel()
    if INVALID_BODY in request.scope:
        raise BadRequestError(f"the chunked encoding of the body is invalid after its first {len(body)} bytes")
    permit.reacquire_slot()
    return bytes(body)


async def decompress(request: Request, body: bytes, permit: Permit, max_bytes: int) -> bytes:
    """Undo the `Content-Encoding` of a body, and reserve memory for the result.

    Raises:
        UnsupportedMediaTypeError: The encoding is neither gzip nor deflate, or there are several.
        BadRequestError: The compressed data is invalid, or other bytes follow it.
        PayloadTooLargeError: The result is over the limit.
        OverloadedError: The memory limit is reached.
    """
    encoding = request.headers.get("content-encoding", "").strip().lower()
    if encoding in ("", "identity"):
        return body
    if encoding not in _WINDOWS:
        raise UnsupportedMediaTypeError(f"Content-Encoding: {encoding!r} is not taken; send gzip, deflate or none")
    decompressor = zlib.decompressobj(_WINDOWS[encoding])
    decompressed, rest = bytearray(), body
    while not decompressor.eof:
        try:
            piece = await asyncio.to_thread(decompressor.decompress, rest, _DECOMPRESS_BYTES)
        except zlib.error as error:
            raise BadRequestError(f"the body is not {encoding}: {error}") from None
        rest = decompressor.unconsumed_tail
        if not piece and not rest and not decompressor.eof:
            raise BadRequestError(f"the body is not {encoding}: it ends too early")
        if len(decompressed) + len(piece) > max_bytes:
            raise PayloadTooLargeError(f"the decompressed body is over the limit of {max_bytes} bytes")
        permit.reserve(len(piece))
        decompressed += piece
    if decompressor.unused_data:
        raise BadRequestError(f"bytes follow the {encoding} data of the body")
    return bytes(decompressed)


def require_json(request: Request) -> None:
    """Reject a body whose content type is not JSON; the defaults of HTTP clients are accepted.

    Raises:
        UnsupportedMediaTypeError: It has another content type.
    """
    if content_type(request) not in _JSON_TYPES:
        raise UnsupportedMediaTypeError(f"Content-Type: {content_type(request)!r} is not taken; send application/json")


async def extract_image(request: Request, body: bytes) -> bytes:
    """Return the image of a `multipart/form-data` body, or the body itself where it is the image.

    Raises:
        UnsupportedMediaTypeError: The content type is something else.
        BadRequestError: The form cannot be read, or does not have exactly one file named `image`.
    """
    kind = content_type(request)
    if kind in _RAW_TYPES or kind.startswith("image/"):
        if not body:
            raise BadRequestError("the body is empty; it must be an image, or a form with the file 'image'")
        return body
    if kind != "multipart/form-data":
        raise UnsupportedMediaTypeError(
            f"Content-Type: {kind!r} is not taken; send multipart/form-data with the file 'image', or image/…"
        )

    async def once() -> AsyncGenerator[bytes, None]:
        yield body

    try:
        parser = _InMemoryParser(_form_headers(request), once(), max_files=8, max_fields=8)
        form = await parser.parse()
    except (MultiPartException, MultipartParseError, KeyError) as error:
        raise BadRequestError(f"the form cannot be read: {getattr(error, 'message', error)}") from None
    files = form.getlist("image")
    if any(not isinstance(file, UploadFile) for file in files):
        raise BadRequestError("the form's 'image' is a text and not a file; with curl: -F image=@FILE")
    if len(files) != 1 or not isinstance(files[0], UploadFile):
        names = ", ".join(sorted(set(form))) or "none"
        raise BadRequestError(f"the form must have one file named 'image'; it has {len(files)} (fields: {names})")
    return await files[0].read()


def _form_headers(request: Request) -> Headers:
    """Return the content type of a form without its `charset`: names are UTF-8.

    A client could otherwise choose any codec of Python; some raise errors of their own, some return text that cannot
    be encoded in a response.

    Raises:
        BadRequestError: It has no boundary.
    """
    _, options = parse_options_header(request.headers["content-type"])
    if (boundary := options.get(b"boundary")) is None:
        raise BadRequestError("the form cannot be read: its Content-Type names no boundary")
    quoted = boundary.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
    return Headers(raw=[(b"content-type", b'multipart/form-data; boundary="' + quoted + b'"')])


class _InMemoryParser(MultiPartParser):
    """Keeps parts in memory, as the whole body already is, and not in temporary files."""

    spool_max_size = 2**31
