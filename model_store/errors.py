"""What can go wrong between a folder, a remote store and the cache.

StoreError
├── UsageError           a URL, name, selector or folder that cannot be meant
├── NotFoundError        no such model, version, label or file
│   └── ObjectNotFoundError   the store is there, this one object is not
├── IntegrityError       bytes that are not the ones that were promised
│   ├── ManifestError    a manifest that cannot be read, or of an unknown format
│   └── SignatureError   a version that is not signed, or not by the key that is trusted
├── ConflictError        somebody else wrote first, and trying again did not help
├── AccessDeniedError    the store refused the credentials, or what they may do
├── UnavailableError     the store could not be reached, or failed by itself
└── DiskError            the local disk is full, or may not be written
"""

from __future__ import annotations

from typing import ClassVar


class StoreError(Exception):
    """A step of the model path failed; the message says what to do about it."""

    exit_code: ClassVar[int] = 1


class UsageError(StoreError):
    """A URL, name, selector or folder cannot be meant as it was given."""

    exit_code = 2


class NotFoundError(StoreError):
    """The store holds no such model, version, label or file."""

    exit_code = 3


class ObjectNotFoundError(NotFoundError):
    """The store answers, and does not hold this one object."""


class IntegrityError(StoreError):
    """Bytes, or their number, differ from what the manifest or the label promised."""

    exit_code = 4


class ManifestError(IntegrityError):
    """A manifest is not valid, or of a format that this release does not know."""


class SignatureError(IntegrityError):
    """A version is not signed, or not by the key that is trusted."""


class ConflictError(StoreError):
    """Another writer was first, and the next attempts met another one each time."""

    exit_code = 5


class AccessDeniedError(StoreError):
    """The store refused the credentials, or does not let them do this."""

    exit_code = 6


class UnavailableError(StoreError):
    """The store could not be reached in time, or failed by itself; trying again may help."""

    exit_code = 7


class DiskError(StoreError):
    """The local disk is full, or refuses to be read or written."""

    exit_code = 8
