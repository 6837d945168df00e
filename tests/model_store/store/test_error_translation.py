from __future__ import annotations

import warnings

import obstore.exceptions
import pytest

from model_store import errors
from model_store.store.error_translation import translate

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    LIBRARY = [
        kind
        for name in dir(obstore.exceptions)
        if isinstance(kind := getattr(obstore.exceptions, name), type) and issubclass(kind, Exception)
    ]

EXPECTED = {
    "AlreadyExistsError": errors.ConflictError,
    "BaseError": errors.UnavailableError,
    "GenericError": errors.UnavailableError,
    "InvalidPathError": errors.UsageError,
    "JoinError": errors.UnavailableError,
    "NotFoundError": errors.ObjectNotFoundError,
    "NotModifiedError": errors.ConflictError,
    "NotSupportedError": errors.UsageError,
    "PermissionDeniedError": errors.AccessDeniedError,
    "PreconditionError": errors.ConflictError,
    "UnauthenticatedError": errors.AccessDeniedError,
    "UnknownConfigurationKeyError": errors.UsageError,
}


@pytest.mark.parametrize("kind", LIBRARY, ids=lambda kind: kind.__name__)
def test_every_error_of_the_library_is_mapped(kind: type[Exception]) -> None:
    error = translate(kind("it broke\n\nDebug source:\nGeneric { … }"), "s3://bucket/base", "m/a")
    assert type(error) is EXPECTED[kind.__name__]
    assert str(error).startswith("s3://bucket/base/m/a: ")
    assert "Debug source" not in str(error)


@pytest.mark.parametrize(
    ("text", "kind", "says"),
    [
        ("Server returned non-2xx status code: 403 Forbidden: ", errors.AccessDeniedError, "s3:ListBucket"),
        ("<Code>InvalidAccessKeyId</Code>", errors.AccessDeniedError, "AWS_ACCESS_KEY_ID"),
        ("performing PUT http://169.254.169.254/latest/api/token", errors.AccessDeniedError, "no credentials"),
        ("<Code>NoSuchBucket</Code>", errors.NotFoundError, "bucket 'bucket'"),
        ("<Code>PermanentRedirect</Code>", errors.UsageError, "AWS_REGION"),
        ("status code: 409 Conflict", errors.ConflictError, "another writer"),
        ("No space left on device (os error 28)", errors.DiskError, "space"),
        ("Permission denied (os error 13)", errors.AccessDeniedError, "access denied"),
        ("HTTP error: error sending request", errors.UnavailableError, "error sending request"),
    ],
)
def test_what_the_text_says_decides(text: str, kind: type[Exception], says: str) -> None:
    error = translate(obstore.exceptions.GenericError(text), "s3://bucket", "m/a")
    assert type(error) is kind
    assert says in str(error)


@pytest.mark.parametrize(
    ("url", "text", "kind", "says"),
    [
        ("gs://bucket", "status code: 403 Forbidden", errors.AccessDeniedError, "storage.objects.get"),
        ("gs://bucket", "GET http://169.254.169.254/computeMetadata", errors.AccessDeniedError, "set GOOGLE_"),
        ("gs://bucket", "GET http://metadata.google.internal/x", errors.AccessDeniedError, "set GOOGLE_"),
        ("gs://bucket", "<Code>NoSuchBucket</Code>", errors.NotFoundError, "the bucket 'bucket'"),
        ("az://box/x", "<Code>ContainerNotFound</Code>", errors.NotFoundError, "the container 'box'"),
        ("az://box/x", "<Code>AuthenticationFailed</Code>", errors.AccessDeniedError, "AZURE_STORAGE_ACCOUNT_KEY"),
        ("az://box/x", "GET http://169.254.169.254/metadata/identity", errors.AccessDeniedError, "set AZURE_"),
        ("https://host/x", "status code: 403 Forbidden", errors.AccessDeniedError, "the web server lets"),
        ("https://host/x", "status code: 301 Moved", errors.UnavailableError, "301"),
        ("file:///x", "Permission denied (os error 13)", errors.AccessDeniedError, "owner and mode"),
        ("https://host/x", "status code: 416 Range Not Satisfiable", errors.IntegrityError, "shorter"),
    ],
)
def test_each_cloud_is_spoken_of_in_its_own_words(url: str, text: str, kind: type[Exception], says: str) -> None:
    error = translate(obstore.exceptions.GenericError(text), url, "m/a")
    assert type(error) is kind
    assert says in str(error)
    assert "AWS" not in str(error)


def test_exit_codes_differ() -> None:
    kinds = [
        errors.StoreError,
        errors.UsageError,
        errors.NotFoundError,
        errors.IntegrityError,
        errors.ConflictError,
        errors.AccessDeniedError,
        errors.UnavailableError,
        errors.DiskError,
    ]
    assert [kind.exit_code for kind in kinds] == [1, 2, 3, 4, 5, 6, 7, 8]
