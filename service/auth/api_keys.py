"""Who may call: API keys, each with a name, a rate and a priority, kept as hashes in a file.

    {"keys": [{"name": "shop", "sha256": "9f86d08…", "images_per_second": 50, "priority": "interactive"}]}

The file is a secret mounted read-only, or any other; what changes in it counts within a second.
`python -m service.auth` makes keys and their entries.
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

_LOOK_EVERY_S = 1.0


class ApiClient:
    """Who sent a request, and what they may still have."""

    def __init__(self, entry: KeyEntry, share: float) -> None:
        """Begin with a full second's worth.

        Args:
            entry: The key.
            share: Of its rate that this process may give.
        """
        self.entry = entry
        self.name = entry.name
        self.priority = Priority[entry.priority.upper()]
        self.digest = bytes.fromhex(entry.sha256)
        self._rate = entry.images_per_second * share if entry.images_per_second else math.inf
        self._left = self._burst = max(1.0, self._rate)
        self._at = time.monotonic()

    def require_quota(self) -> None:
        """Refuse a request of a caller who has had more than their rate.

        Raises:
            OverloadedError: There is nothing left.
        """
        now = time.monotonic()
        if math.isfinite(self._rate):
            self._left = min(self._burst, self._left + (now - self._at) * self._rate)
            self._at = now
        if self._left <= 0:
            raise OverloadedError(
                f"{self.name} may have {self.entry.images_per_second:g} images a second, and has had more",
                retry_after_s=math.ceil(-self._left / self._rate),
                reason="rate",
            )

    def charge(self, images: int) -> None:
        """Count images; a request that is larger than what is left is served, and paid for by those after it."""
        self._left -= images
        metrics.CLIENT_IMAGES.labels(self.name).inc(images)


class ApiKeyStore:
    """The keys of the file, as they are now."""

    def __init__(self, path: Path, processes: int) -> None:
        """Read the file.

        Args:
            path: The file.
            processes: How many share the work, and the rates.

        Raises:
            ValueError: It is not such a file.
        """
        self._path = path
        self._share = 1 / processes
        self._stamp = self._look()
        self._looked = time.monotonic()
        self._callers = self._made(read_keys(path), [])

    def identify(self, authorization: str) -> ApiClient:
        """Return whose key it is, in a time that does not depend on how much of it is right.

        Args:
            authorization: The header of that name.

        Raises:
            AccessDeniedError: It is nobody's, or there is none.
        """
        self._refresh()
        kind, _, key = authorization.partition(" ")
        digest = hashlib.sha256(key.strip().encode("latin-1", "replace")).digest()
        found: ApiClient | None = None
        for caller in self._callers:  # To the end, whether found or not.
            if hmac.compare_digest(caller.digest, digest):
                found = caller
        if kind.lower() != "bearer" or found is None:
            raise AccessDeniedError("send a valid API key as 'Authorization: Bearer …'")
        return found

    def _refresh(self) -> None:
        now = time.monotonic()
        if now - self._looked < _LOOK_EVERY_S:
            return
        self._looked = now
        if (stamp := self._look()) == self._stamp:
            return
        self._stamp = stamp
        try:
            self._callers = self._made(read_keys(self._path), self._callers)
        except ValueError as error:
            log.error("The API keys stay as they were: %s", error)
        else:
            log.info("%d API keys are valid now", len(self._callers))

    def _made(self, file: KeyFile, known: Sequence[ApiClient]) -> list[ApiClient]:
        """Return the callers of a file; those who were known keep what they have left."""
        kept = {caller.entry: caller for caller in known}
        return [kept.get(entry) or ApiClient(entry, self._share) for entry in file.keys]

    def _look(self) -> tuple[int, int, int] | None:
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_ino, status.st_size
