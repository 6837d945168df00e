"""Translate the object-store library's errors to those of `errors.py`, in the terms of each cloud."""

from __future__ import annotations

import re

from model_store.errors import (
    AccessDeniedError,
    ConflictError,
    DiskError,
    IntegrityError,
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
    "AuthenticationFailed",
    "AuthorizationFailure",
    "AuthorizationPermissionMismatch",
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidToken",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
    "TokenRefreshRequired",
}
"""Error codes of S3 and Azure about credentials, whatever their status."""

_NO_BUCKET = {"NoSuchBucket", "ContainerNotFound"}
"""Error codes for a missing bucket or container."""

_ELSEWHERE = {"AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "PermanentRedirect"}
"""S3 error codes for a bucket in another region."""

_METADATA_SERVICES = ("169.254.169.254", "metadata.google.internal")
"""Contacted for credentials only if the environment holds none."""

_BAD_CREDENTIALS = ("credential error: ", "Invalid Access Key: ", "Unable to open service account file")
"""Prefixes of the library's messages about unusable credentials."""

_CREDENTIALS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
    "az": "AZURE_STORAGE_ACCOUNT_KEY or AZURE_STORAGE_SAS_TOKEN",
}
"""Variables that hold credentials, by scheme."""

_RIGHTS = {
    "s3": (
        "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, "
        "and that they may s3:GetObject and s3:ListBucket (to publish also s3:PutObject)"
    ),
    "gs": (
        "check GOOGLE_APPLICATION_CREDENTIALS, and that the account may storage.objects.get and "
        "storage.objects.list (to publish also storage.objects.create and storage.objects.delete)"
    ),
    "az": (
        "check AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY or AZURE_STORAGE_SAS_TOKEN, "
        "and that they may read and list blobs (to publish also write them)"
    ),
    "https": "check the URL, and that the web server lets this machine read it",
    "http": "check the URL, and that the web server lets this machine read it",
    "file": "check owner and mode of the folder",
}
"""What to check when access is denied, by scheme."""


def translate(error: Exception, url: str, path: str) -> StoreError:
    """Return the error to raise for an error of the library.

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
    scheme = url.partition("://")[0]

    if code in _NO_BUCKET:
        what = "container" if scheme == "az" else "bucket"
        return NotFoundError(f"{url}: the {what} '{bucket_of(url)}' does not exist; create it or correct the store URL")
    if scheme in _CREDENTIALS and any(service in text for service in _METADATA_SERVICES):
        return AccessDeniedError(f"{where}: no credentials were found; set {_CREDENTIALS[scheme]}")
    if scheme in _CREDENTIALS and any(mark in text for mark in _BAD_CREDENTIALS):
        return UsageError(f"{where}: the credentials cannot be used: {_reason(text)}; check {_CREDENTIALS[scheme]}")
    if (
        kind in {"PermissionDeniedError", "UnauthenticatedError", "PermissionError"}
        or status in {"401", "403"}
        or code in _REFUSED
        or "os error 13)" in text
        or "os error 1)" in text
    ):
        said = f" ({_found(_MESSAGE, text) or code})" if code else ""
        return AccessDeniedError(f"{where}: access denied{said}; {_RIGHTS.get(scheme, _RIGHTS['https'])}")
    if kind in {"AlreadyExistsError", "PreconditionError", "NotModifiedError"} or status in {"409", "412"}:
        return ConflictError(f"{where}: another writer was first; try again")
    if isinstance(error, FileNotFoundError) or kind == "NotFoundError":
        return ObjectNotFoundError(f"{where}: not found")
    if status == "416" or code == "InvalidRange":
        return IntegrityError(f"{where}: ends before the part that was asked for; it is shorter than it should be")
    if code in _ELSEWHERE or (scheme == "s3" and status == "301"):
        return UsageError(f"{where}: the bucket lies in another region; set AWS_REGION to it")
    if "os error 28)" in text or "os error 30)" in text or "os error 122)" in text:
        return DiskError(f"{where}: cannot be written: {_reason(text)}; free some space and try again")
    if isinstance(error, ValueError) or kind in {"InvalidPathError", "UnknownConfigurationKeyError"}:
        return UsageError(f"{where}: is not valid: {_reason(text)}")
    if kind == "NotSupportedError":
        return UsageError(f"{where}: this kind of store cannot do that: {_reason(text)}")
    return UnavailableError(
        f"{where}: the store did not answer as it should: {_reason(text)}; "
        "check that it is up and reachable, then try again"
    )


def bucket_of(url: str) -> str:
    """Return the bucket or container in a URL like `s3://bucket/prefix`."""
    return url.partition("://")[2].partition("/")[0]


def _first_paragraph(text: str) -> str:
    """Return the message without the library internals that follow it."""
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
