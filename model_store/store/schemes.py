"""Open a store by its URL and the environment.

To add a scheme, write a function like `_s3` and list it in `SCHEMES`. Credentials, endpoints and proxies come from
the usual variables of each cloud; what the library does not read itself is read here.
"""

from __future__ import annotations

import ipaddress
import json
import os
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, unquote, urlsplit

from model_store.errors import DiskError, NotFoundError, UsageError

if TYPE_CHECKING:
    from obstore.store import AzureConfig, ClientConfig, GCSConfig, ObjectStore, RetryConfig, S3Config

Connect = Callable[[], "ObjectStore"]
"""Creates the library's store; called at first use, since importing the library takes time."""

UPLOAD_READ_TIMEOUT_S = 120.0
"""Nothing is read while a part is sent, so publishing over a slow line needs this much."""

REQUEST_TIMEOUT_S = 3600.0
"""For one request with its whole body; the read timeout detects a stalled one long before."""

ALLOW_HTTP_VARIABLE = "MODEL_STORE_ALLOW_HTTP"
"""If 1, `http://` is also accepted for hosts other than this one."""

_TRUE_VALUES = {"1", "true", "yes", "on"}

_WEB = ("https://", "http://")

_PATHS = ("/", "./", "../")
"""Prefixes of a path given instead of a URL; the shell expands `~`."""


def connection(url: str, *, publishing: bool, patience_s: float) -> Connect:
    """Check a store's URL and return the function that opens it.

    Raises:
        UsageError: Of a scheme that is not supported, or incomplete.
    """
    scheme, separator, _ = url.partition("://")
    opener = SCHEMES.get(scheme)
    if not separator or opener is None:
        *others, last = (f"{name}://" for name in SCHEMES)
        known = f"{', '.join(others)} and {last}"
        like = f"{Path(url).absolute().as_uri()} for this folder" if url.startswith(_PATHS) else "s3://bucket/prefix"
        raise UsageError(f"{url!r} is not a store URL: supported are {known}, as in {like}")
    return opener(url, publishing, patience_s)


def is_web(url: str) -> bool:
    """Return whether a store is a plain web server, which is read-only and cannot be listed."""
    return url.startswith(_WEB)


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
    bucket, prefix = _bucket_and_prefix(url, "a bucket", "s3://bucket/prefix")
    config = s3_config(os.environ)
    client, retry = _client(publishing, patience_s), _retry(patience_s)

    def connect() -> ObjectStore:
        from obstore.store import S3Store

        return S3Store(bucket, prefix=prefix, config=config, client_options=client, retry_config=retry)

    return connect


def _gs(url: str, publishing: bool, patience_s: float) -> Connect:
    bucket, prefix = _bucket_and_prefix(url, "a bucket", "gs://bucket/prefix")
    config = gs_config(os.environ)
    client, retry = _client(publishing, patience_s), _retry(patience_s)

    def connect() -> ObjectStore:
        from obstore.store import GCSStore

        return GCSStore(bucket, prefix=prefix, config=config, client_options=client, retry_config=retry)

    return connect


def _az(url: str, publishing: bool, patience_s: float) -> Connect:
    container, prefix = _bucket_and_prefix(url, "a container", "az://container/prefix")
    config = az_config(os.environ)
    client, retry = _client(publishing, patience_s), _retry(patience_s)

    def connect() -> ObjectStore:
        from obstore.store import AzureStore

        return AzureStore(container, prefix=prefix, config=config, client_options=client, retry_config=retry)

    return connect


def _web(url: str, publishing: bool, patience_s: float) -> Connect:
    parts = urlsplit(url)
    if not parts.hostname or parts.query or parts.fragment or "@" in parts.netloc:
        raise UsageError(
            f"{url!r}: an https:// URL of a store holds a host and perhaps a folder, and neither credentials "
            "nor a query, as in https://models.example.org/prefix"
        )
    if parts.scheme == "http" and not _is_loopback(parts.hostname) and not _is_enabled(os.environ, ALLOW_HTTP_VARIABLE):
        raise UsageError(
            f"{url!r}: http:// is not protected against changes in transit, so it is accepted for this machine only; "
            f"use https://, or set {ALLOW_HTTP_VARIABLE}=1 in a trusted network"
        )
    if publishing:
        raise UsageError(f"{url}: {parts.scheme}:// is read-only; publish to the store that the web server serves")
    client, retry = _client(publishing, patience_s), _retry(patience_s)
    client["allow_http"] = parts.scheme == "http"

    def connect() -> ObjectStore:
        from obstore.store import HTTPStore

        return HTTPStore(url, client_options=client, retry_config=retry)

    return connect


def s3_config(environment: Mapping[str, str]) -> S3Config:
    """Return the configuration from the usual AWS variables; the library itself reads credentials and roles.

    Raises:
        UsageError: The endpoint is not an http or https URL.
    """
    config: S3Config = {
        "region": environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION") or "us-east-1",
        "virtual_hosted_style_request": _virtual_hosted(environment),
    }
    for variable in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"):
        if endpoint := environment.get(variable):
            config["endpoint"] = _endpoint(variable, endpoint, "https://s3.example.org:9000")
            break
    return config


def gs_config(environment: Mapping[str, str]) -> GCSConfig:
    """Return the address of an emulator, if one is configured; the library itself reads credentials.

    Raises:
        UsageError: The emulator's address is not valid.
    """
    variable = "STORAGE_EMULATOR_HOST"
    if not (endpoint := environment.get(variable)):
        return {}
    if "://" not in endpoint:
        endpoint = f"http://{endpoint}"
    account = {
        "gcs_base_url": _endpoint(variable, endpoint, "http://127.0.0.1:4443"),
        "disable_oauth": True,
        "client_email": "",
        "private_key": "",
        "private_key_id": "",
    }
    return {"service_account_key": json.dumps(account)}


def az_config(environment: Mapping[str, str]) -> AzureConfig:
    """Return the configuration from a connection string, if any; the library itself reads the other variables.

    Raises:
        UsageError: No storage account is named, or an endpoint is not an http or https URL.
    """
    config: AzureConfig = {}
    variable = "AZURE_STORAGE_CONNECTION_STRING"
    pairs = (pair.partition("=") for pair in environment.get(variable, "").split(";"))
    said = {name.strip().lower(): value.strip() for name, _, value in pairs}
    if account := said.get("accountname"):
        config["account_name"] = account
    if key := said.get("accountkey"):
        config["account_key"] = key
    if token := said.get("sharedaccesssignature"):
        config["sas_key"] = token.removeprefix("?")
    if endpoint := said.get("blobendpoint"):
        config["endpoint"] = _endpoint(variable, endpoint, "BlobEndpoint=https://account.blob.core.windows.net")
    elif account and (suffix := said.get("endpointsuffix")):
        config["endpoint"] = f"https://{account}.blob.{suffix}"
    if said.get("usedevelopmentstorage") == "true":
        config["use_emulator"] = True
    for name in ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"):
        if endpoint := environment.get(name):
            _endpoint(name, endpoint, "https://account.blob.core.windows.net")
    named = account or environment.get("AZURE_STORAGE_ACCOUNT_NAME")
    if not named and not config.get("use_emulator") and not _is_enabled(environment, "AZURE_STORAGE_USE_EMULATOR"):
        raise UsageError(
            f"az:// needs to know the storage account: set AZURE_STORAGE_ACCOUNT_NAME and a key, or {variable}"
        )
    return config


def _bucket_and_prefix(url: str, what: str, example: str) -> tuple[str, str | None]:
    parts: SplitResult = urlsplit(url)
    if not parts.netloc or parts.query or parts.fragment or "@" in parts.netloc:
        raise UsageError(f"{url!r}: such a URL holds {what} and perhaps a prefix, as in {example}")
    return parts.netloc, unquote(parts.path).strip("/") or None


def _client(publishing: bool, patience_s: float) -> ClientConfig:
    return {
        # The clouds' own addresses are https; only a configured endpoint can be http.
        "allow_http": True,
        "connect_timeout": timedelta(seconds=patience_s / 3),
        "read_timeout": timedelta(seconds=UPLOAD_READ_TIMEOUT_S if publishing else patience_s * 2 / 3),
        "timeout": timedelta(seconds=REQUEST_TIMEOUT_S),
    }


def _retry(patience_s: float) -> RetryConfig:
    # A last try may begin just before the retry timeout and take as long as a connection may.
    return {
        "max_retries": 6,
        "retry_timeout": timedelta(seconds=patience_s * 2 / 3),
        "backoff": {
            "init_backoff": timedelta(milliseconds=100),
            "max_backoff": timedelta(seconds=patience_s / 5),
            "base": 2,
        },
    }


def _endpoint(variable: str, endpoint: str, example: str) -> str:
    parts = urlsplit(endpoint)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise UsageError(f"{variable}={endpoint!r} is not a URL like {example}")
    return endpoint.rstrip("/")


def _virtual_hosted(environment: Mapping[str, str]) -> bool:
    """Return whether to address buckets by host; the default is path style, which every server supports."""
    if "AWS_S3_FORCE_PATH_STYLE" in environment:
        return not _is_enabled(environment, "AWS_S3_FORCE_PATH_STYLE")
    return _is_enabled(environment, "AWS_VIRTUAL_HOSTED_STYLE_REQUEST")


def _is_enabled(environment: Mapping[str, str], variable: str) -> bool:
    return environment.get(variable, "").lower() in _TRUE_VALUES


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


SCHEMES: Mapping[str, Callable[[str, bool, float], Connect]] = {
    "s3": _s3,
    "gs": _gs,
    "az": _az,
    "https": _web,
    "http": _web,
    "file": _file,
}
"""Functions that open a URL, by scheme."""
