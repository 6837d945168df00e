"""Authenticate clients by API keys, each with a name, a rate and a priority, whose hashes are kept in a file.

    {"keys": [{"name": "shop", "sha256": "9f86d08…", "images_per_second": 50, "priority": "interactive"}]}

The file may be mounted read-only, such as a secret; changes take effect within a second. `python -m service.auth`
creates keys and their entries.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import math
import time
from collections.abc import Sequence
from pathlib import Path

from service.core.deadline import Priority
from service.core.errors import AccessDeniedError, OverloadedError
from service.core.key_file import KeyEntry, KeyFile, read_keys
from service.telemetry import metrics

log = logging.getLogger("bentoml.edge")

_CHECK_INTERVAL_S = 1.0


class ApiClient:
    """A client with an API key, and its remaining quota."""

    def __init__(self, entry: KeyEntry, share: float) -> None:
        """Start with the quota of one second.

        Args:
            entry: The key.
            share: Part of its rate that this process may grant, from 0 to 1.
        """
        self.entry = entry
        self.name = entry.name
        self.priority = Priority[entry.priority.upper()]
        self.digest = bytes.fromhex(entry.sha256)
        self._rate = entry.images_per_second * share if entry.images_per_second else math.inf
        self._remaining = self._burst = max(1.0, self._rate)
        self._updated = time.monotonic()

    def require_quota(self) -> None:
        """Reject a request of a client over its rate.

        Raises:
            OverloadedError: The quota is used up.
        """
        now = time.monotonic()
        if math.isfinite(self._rate):
            self._remaining = min(self._burst, self._remaining + (now - self._updated) * self._rate)
            self._updated = now
        if self._remaining <= 0:
            raise OverloadedError(
                f"{self.name} is over its rate of {self.entry.images_per_second:g} images per second",
                retry_after_s=math.ceil(-self._remaining / self._rate),
                reason="rate",
            )

    def charge(self, images: int) -> None:
        """Charge images to the quota; a request over the remaining quota is served, and delays the ones after it."""
        self._remaining -= images
        metrics.CLIENT_IMAGES.labels(self.name).inc(images)


class ApiKeyStore:
    """The keys of the file, read again when it changes."""

    def __init__(self, path: Path, processes: int) -> None:
        """Read the file.

        Args:
            path: The file.
            processes: Number of processes that share the rates.

        Raises:
            ValueError: It is not a file of API keys.
        """
        self._path = path
        self._share = 1 / processes
        self._signature = self._stat()
        self._checked = time.monotonic()
        self._clients = self._build(read_keys(path), [])

    def identify(self, authorization: str) -> ApiClient:
        """Return the client of a key, in a time that does not depend on how much of it is right.

        Args:
            authorization: Value of the header `Authorization`.

        Raises:
            AccessDeniedError: There is no such key, or the header is missing.
        """
        self._refresh()
        kind, _, key = authorization.partition(" ")
        digest = hashlib.sha256(key.strip().encode("latin-1", "replace")).digest()
        found: ApiClient | None = None
        for client in self._clients:  # All of them, whether found or not: constant time.
            if hmac.compare_digest(client.digest, digest):
                found = client
        if kind.lower() != "bearer" or found is None:
            raise AccessDeniedError("send a valid API key as 'Authorization: Bearer …'")
        return found

    def _refresh(self) -> None:
        now = time.monotonic()
        if now - self._checked < _CHECK_INTERVAL_S:
            return
        self._checked = now
        if (signature := self._stat()) == self._signature:
            return
        self._signature = signature
        try:
            self._clients = self._build(read_keys(self._path), self._clients)
        except ValueError as error:
            log.error("The API keys are unchanged: %s", error)
        else:
            log.info("%d API keys are valid now", len(self._clients))

    def _build(self, file: KeyFile, known: Sequence[ApiClient]) -> list[ApiClient]:
        """Return the clients of a file; known ones keep their remaining quota."""
        kept = {client.entry: client for client in known}
        return [kept.get(entry) or ApiClient(entry, self._share) for entry in file.keys]

    def _stat(self) -> tuple[int, int, int] | None:
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_ino, status.st_size
