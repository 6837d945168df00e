"""The errors of the model store.

StoreError
├── UsageError           an invalid URL, name, selector or folder
├── NotFoundError        no such model, version, label or file
│   └── ObjectNotFoundError   the store exists, this object does not
├── IntegrityError       bytes that differ from the expected ones
│   ├── ManifestError    a manifest that cannot be read, or of an unknown format
│   └── SignatureError   a version that is not signed, or not with the trusted key
├── ConflictError        another writer was first, and retries did not help
├── AccessDeniedError    the store rejected the credentials, or their permissions
├── UnavailableError     the store could not be reached, or failed
└── DiskError            the local disk is full, or denies access
"""

from __future__ import annotations

from typing import ClassVar


class StoreError(Exception):
    """Base of all errors; the message says what to do."""

    exit_code: ClassVar[int] = 1


class UsageError(StoreError):
    """A URL, name, selector or folder is not valid."""

    exit_code = 2


class NotFoundError(StoreError):
    """The store holds no such model, version, label or file."""

    exit_code = 3


class ObjectNotFoundError(NotFoundError):
    """The store exists, this object does not."""


class IntegrityError(StoreError):
    """Bytes, or their number, differ from those in the manifest or the label."""

    exit_code = 4


class ManifestError(IntegrityError):
    """A manifest is not valid, or of an unknown format."""


class SignatureError(IntegrityError):
    """A version is not signed, or not with the trusted key."""


class ConflictError(StoreError):
    """Another writer was first, also in every retry."""

    exit_code = 5


class AccessDeniedError(StoreError):
    """The store rejected the credentials, or their permissions do not suffice."""

    exit_code = 6


class UnavailableError(StoreError):
    """The store could not be reached in time, or failed; a retry may help."""

    exit_code = 7


class DiskError(StoreError):
    """The local disk is full, or denies access."""

    exit_code = 8
