"""What the scope of a request keeps."""

from __future__ import annotations

from typing import Any

from service.auth.api_keys import ApiClient
from service.core.key_file import KeyEntry
from service.http.scope import client_of, record_of, set_client, start_record


def test_a_record_is_made_once() -> None:
    scope: dict[str, Any] = {"type": "http", "method": "POST", "path": "/classify", "headers": [(b"a", b"b")]}
    record = start_record(scope, "abc", access_log=True)
    assert record_of(scope) is record
    assert (record.method, record.path, record.request_id, record.access_log) == ("POST", "/classify", "abc", True)
    bare: dict[str, Any] = {"type": "http", "method": "GET", "path": "/", "headers": []}
    assert record_of(bare) is record_of(bare)


def test_a_client_is_kept_and_named() -> None:
    scope: dict[str, Any] = {"type": "http", "method": "GET", "path": "/", "headers": []}
    assert client_of(scope) is None
    client = ApiClient(KeyEntry(name="shop", sha256="0" * 64), 1.0)
    set_client(scope, client)
    assert client_of(scope) is client
    assert record_of(scope).client == "shop"
