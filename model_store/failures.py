"""What the object-store library raises, said in the words of `errors.py`."""

from __future__ import annotations

import re

from .errors import (
    AccessDeniedError,
    ConflictError,
    DiskError,
    NotFoundError,
    ObjectNotFoundError,
    StoreError,
    UnavailableError,
    UsageError,
)

_CODE = re.compile(r"<Code>(\w+)</Code>")
_MESSAGE = re.compile(r"<Message>([^<]*)</Message>")
_STATUS = re.compile(r"status code: (\d{3})")

_REFUSED = {
    "AccessDenied",
    "AccountProblem",
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidToken",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
    "TokenRefreshRequired",
}
"""S3 error codes that speak of credentials, whatever status they come with."""

_ELSEWHERE = {"AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "PermanentRedirect"}
"""S3 error codes that mean: this bucket lies in another region."""

_METADATA_SERVICE = "169.254.169.254"
"""Asked for credentials only when the environment holds none."""


def translate(error: Exception, url: str, path: str) -> StoreError:
    """Return the error that tells a person what `error` means for `path` in the store at `url`.

    Args:
        error: As the object-store library raised it.
        url: The store's URL, as it was given.
        path: The object, or an empty string for the store itself.
    """
    text = _first_paragraph(str(error))
    kind = type(error).__name__
    code = _found(_CODE, text)
    status = _found(_STATUS, text)
    where = f"{url}/{path}" if path else url

    if code == "NoSuchBucket":
        return NotFoundError(f"{url}: the bucket '{bucket_of(url)}' does not exist; create it or correct the store URL")
    if _METADATA_SERVICE in text:
        return AccessDeniedError(f"{where}: no credentials were found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
    if (
        kind in {"PermissionDeniedError", "UnauthenticatedError", "PermissionError"}
        or status in {"401", "403"}
        or code in _REFUSED
        or "os error 13)" in text
        or "os error 1)" in text
    ):
        return AccessDeniedError(f"{where}: {_access_advice(url, code, text)}")
    if kind in {"AlreadyExistsError", "PreconditionError", "NotModifiedError"} or status in {"409", "412"}:
        return ConflictError(f"{where}: another writer was first; try again")
    if isinstance(error, FileNotFoundError) or kind == "NotFoundError":
        return ObjectNotFoundError(f"{where}: not found")
    if code in _ELSEWHERE or status == "301":
        return UsageError(f"{where}: the bucket lies in another region; set AWS_REGION to it")
    if "os error 28)" in text or "os error 30)" in text or "os error 122)" in text:
        return DiskError(f"{where}: cannot be written: {_reason(text)}; free some space and try again")
    if isinstance(error, ValueError) or kind in {"InvalidPathError", "UnknownConfigurationKeyError"}:
        return UsageError(f"{where}: cannot be meant: {_reason(text)}")
    if kind == "NotSupportedError":
        return UsageError(f"{where}: this kind of store cannot do that: {_reason(text)}")
    return UnavailableError(
        f"{where}: the store did not answer as it should: {_reason(text)}; "
        "check that it is up and reachable, then try again"
    )


def bucket_of(url: str) -> str:
    """Return the bucket in a URL like `s3://bucket/prefix`."""
    return url.partition("://")[2].partition("/")[0]


def _access_advice(url: str, code: str | None, text: str) -> str:
    if not url.startswith("s3:"):
        return "permission denied; check owner and mode of the folder"
    said = f" ({_found(_MESSAGE, text) or code})" if code else ""
    return (
        f"access denied{said}; check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, "
        "and that they may s3:GetObject and s3:ListBucket (to publish also s3:PutObject)"
    )


def _first_paragraph(text: str) -> str:
    """Cut the dump of library internals that follows the message."""
    return text.partition("Debug source:")[0].strip()


def _reason(text: str) -> str:
    """Return the shortest part of the message that still names the cause, on one line."""
    if code := _found(_CODE, text):
        said = _found(_MESSAGE, text)
        return f"{code} ({said})" if said else code
    for mark in ("HTTP error: ", "Server returned non-2xx "):
        if mark in text:
            text = text.rpartition(mark)[2]
    return " ".join(text.split())[:300].rstrip(". ") or "no reason given"


def _found(pattern: re.Pattern[str], text: str) -> str | None:
    match = pattern.search(text)
    return match.group(1) if match else None
