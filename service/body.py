"""Reading the body of a request within its limits, and the image out of a form."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import parse_options_header
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from .admission import Permit
from .digits import read_digits
from .disconnect import ClientDisconnectedError
from .errors import BadRequestError, PayloadTooLargeError, SlowRequestError, UnsupportedMediaTypeError

BROKEN = "body_broken"
"""What `service.connection` writes into the scope of a request whose body ends in what is no HTTP."""

_PLAIN_CURL = "application/x-www-form-urlencoded"
"""What curl calls the body of `-d` and `--data-binary` unless it is told otherwise."""

_PATIENCE_S = 1.0
"""How long a request holds its place while its body arrives; ordinary ones need some ms."""

_JSON_TYPES = {"", "application/json", "application/octet-stream", "text/plain", _PLAIN_CURL}
_RAW_TYPES = {"", "application/octet-stream", _PLAIN_CURL}


def content_type(request: Request) -> str:
    """Return the media type of the body without its parameters, in small letters; empty where none is named."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def announced_size(request: Request, max_bytes: int) -> int:
    """Return the size that the sender announced, in bytes; 0 where it did not.

    Raises:
        BadRequestError: `Content-Length` is not a number.
        PayloadTooLargeError: It is over the limit.
    """
    text = request.headers.get("content-length", "0")
    size = read_digits(text)
    if size is None:
        raise BadRequestError(f"Content-Length: {text[:99]!r} is not a number")
    if size > max_bytes:
        raise PayloadTooLargeError(f"the body has {size} bytes; the limit is {max_bytes}")
    return size


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
    patience = asyncio.get_running_loop().call_later(_PATIENCE_S, permit.step_aside)
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
    permit.step_back()
    return bytes(body)


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
