"""Reading the body of a request within its limits, and the image out of a form."""

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

BROKEN = "body_broken"
"""What `service.server.protocol` writes into the scope of a request whose body ends in what is no HTTP."""

_PLAIN_CURL = "application/x-www-form-urlencoded"
"""What curl calls the body of `-d` and `--data-binary` unless it is told otherwise."""

_PATIENCE_S = 1.0
"""How long a request holds its place while its body arrives; ordinary ones need some ms."""

_PIECE = 2**20
"""Bytes inflated at a time, in a thread; between two pieces the bounds are looked at, and others get their turn."""

_WINDOWS = {"gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
"""What zlib has to be told for each encoding; HTTP's `deflate` is zlib's own format."""

_JSON_TYPES = {"", "application/json", "application/octet-stream", "text/plain", _PLAIN_CURL}
_RAW_TYPES = {"", "application/octet-stream", _PLAIN_CURL}


def content_type(request: Request) -> str:
    """Return the media type of the body without its parameters, in small letters; empty where none is named."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def read_body(request: Request, permit: Permit, max_bytes: int, timeout_s: float) -> bytes:
    """Read the body, reserving memory for what of it has come.

    A request whose body is slow gives its place back meanwhile: there is nothing to do for it yet. So callers who
    send heads and nothing else do not shut out others by being many.

    Raises:
        BadRequestError: Its chunks are no HTTP.
        PayloadTooLargeError: It is longer than the limit.
        OverloadedError: The process holds too many bytes already, or the body was slow and the places are taken.
        SlowRequestError: It has not arrived within `timeout_s`, or the deadline of the request.
        ClientDisconnectedError: The caller hung up before its end.
    """
    body = bytearray()
    patience = asyncio.get_running_loop().call_later(_PATIENCE_S, permit.release_slot)
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
        raise SlowRequestError(f"the body did not arrive in time; {len(body)} bytes of it did") from None
    finally:
        patience.cancel()
    if BROKEN in request.scope:
        raise BadRequestError(f"the chunks of the body are no HTTP/1.1 behind its first {len(body)} bytes")
    permit.reacquire_slot()
    return bytes(body)


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


def require_json(request: Request) -> None:
    """Refuse a body that says it is something else than JSON; what HTTP clients say by default is fine.

    Raises:
        UnsupportedMediaTypeError: The content type is another one.
    """
    if content_type(request) not in _JSON_TYPES:
        raise UnsupportedMediaTypeError(f"Content-Type: {content_type(request)!r} is not taken; send application/json")


async def extract_image(request: Request, body: bytes) -> bytes:
    """Return the image of a `multipart/form-data` body, or the body itself where it is the image.

    Raises:
        UnsupportedMediaTypeError: The body is said to be something else.
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

    Else the sender could choose any codec of Python, of which some fail in ways of their own, and some make text that
    no answer can hold.

    Raises:
        BadRequestError: It names no boundary.
    """
    _, options = parse_options_header(request.headers["content-type"])
    if (boundary := options.get(b"boundary")) is None:
        raise BadRequestError("the form cannot be read: its Content-Type names no boundary")
    quoted = boundary.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
    return Headers(raw=[(b"content-type", b'multipart/form-data; boundary="' + quoted + b'"')])


class _InMemoryParser(MultiPartParser):
    """Keeps parts in memory, where the whole body already is, instead of in temporary files."""

    spool_max_size = 2**31
