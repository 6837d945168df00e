"""From a store's URL and the environment to the object-store library's own object.

To add a scheme, write a function like `_s3` and list it in `SCHEMES`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from .errors import DiskError, NotFoundError, UsageError

if TYPE_CHECKING:
    from obstore.store import ClientConfig, ObjectStore, RetryConfig, S3Config

Connect = Callable[[], "ObjectStore"]
"""Builds the library's object; called at first use, since importing the library takes time."""

UPLOAD_READ_TIMEOUT_S = 120.0
"""While a part is sent nothing is read, so a slow line needs this much when publishing."""

REQUEST_TIMEOUT_S = 3600.0
"""For one request with its whole body; a stalled one is noticed by the read timeout long before."""

_YES = {"1", "true", "yes", "on"}


def connection(url: str, *, publishing: bool, patience_s: float) -> Connect:
    """Check a store's URL and return what opens it.

    Raises:
        UsageError: Of a scheme that is not supported, or incomplete.
    """
    scheme, separator, _ = url.partition("://")
    opener = SCHEMES.get(scheme)
    if not separator or opener is None:
        known = " and ".join(f"{name}://" for name in SCHEMES)
        raise UsageError(f"{url!r} is no store URL: supported are {known}, as in s3://bucket/prefix")
    return opener(url, publishing, patience_s)


def _file(url: str, publishing: bool, _patience_s: float) -> Connect:
    parts = urlsplit(url)
    folder = Path(unquote(parts.path))
    if parts.netloc not in {"", "localhost"} or not folder.is_absolute():
        raise UsageError(f"{url!r}: a file:// URL holds an absolute path, as in file:///srv/models")

    def connect() -> ObjectStore:
        from obstore.store import LocalStore

        if publishing:
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise DiskError(f"{url}: cannot be created: {error.strerror}") from error
        if not folder.is_dir():
            raise NotFoundError(f"{url}: there is no such folder; publish a version first or correct the URL")
        return LocalStore(folder)

    return connect


def _s3(url: str, publishing: bool, patience_s: float) -> Connect:
    parts = urlsplit(url)
    if not parts.netloc or parts.query or parts.fragment or "@" in parts.netloc:
        raise UsageError(f"{url!r}: an s3:// URL holds a bucket and perhaps a prefix, as in s3://bucket/prefix")
    prefix = unquote(parts.path).strip("/")
    config = s3_config(os.environ)
    read_timeout_s = UPLOAD_READ_TIMEOUT_S if publishing else patience_s * 2 / 3
    client: ClientConfig = {
        "allow_http": True,
        "connect_timeout": timedelta(seconds=patience_s / 3),
        "read_timeout": timedelta(seconds=read_timeout_s),
        "timeout": timedelta(seconds=REQUEST_TIMEOUT_S),
    }
    # A last try may begin just before the retry timeout and take as long as a connection may.
    retry: RetryConfig = {
        "max_retries": 6,
        "retry_timeout": timedelta(seconds=patience_s * 2 / 3),
        "backoff": {
            "init_backoff": timedelta(milliseconds=100),
            "max_backoff": timedelta(seconds=patience_s / 5),
            "base": 2,
        },
    }

    def connect() -> ObjectStore:
        from obstore.store import S3Store

        return S3Store(parts.netloc, prefix=prefix or None, config=config, client_options=client, retry_config=retry)

    return connect


def s3_config(environment: Mapping[str, str]) -> S3Config:
    """Return what the usual AWS variables say; the library itself reads credentials and roles.

    Raises:
        UsageError: The endpoint is no http or https URL.
    """
    config: S3Config = {
        "region": environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION") or "us-east-1",
        "virtual_hosted_style_request": _virtual_hosted(environment),
    }
    for variable in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"):
        if endpoint := environment.get(variable):
            parts = urlsplit(endpoint)
            if parts.scheme not in {"http", "https"} or not parts.hostname:
                raise UsageError(f"{variable}={endpoint!r} is no URL like https://s3.example.org:9000")
            config["endpoint"] = endpoint.rstrip("/")
            break
    return config


def _virtual_hosted(environment: Mapping[str, str]) -> bool:
    """Path style unless asked otherwise: every S3-compatible server answers it."""
    if "AWS_S3_FORCE_PATH_STYLE" in environment:
        return environment["AWS_S3_FORCE_PATH_STYLE"].lower() not in _YES
    return environment.get("AWS_VIRTUAL_HOSTED_STYLE_REQUEST", "").lower() in _YES


SCHEMES: Mapping[str, Callable[[str, bool, float], Connect]] = {"file": _file, "s3": _s3}
"""What opens a URL, by scheme."""
