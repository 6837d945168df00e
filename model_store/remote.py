"""The remote store: named objects that can be read, listed, and written once or over."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeVar

from .address import Connect, connection
from .errors import ConflictError, IntegrityError, ObjectNotFoundError, StoreError
from .failures import translate

if TYPE_CHECKING:
    from obstore.store import ObjectStore

PATIENCE_S = 15.0
"""How long a store that does not answer is waited for, connecting and retrying included."""

PART_BYTES = 8 * 2**20
"""Size of a part of a multipart upload; what is smaller goes in one request."""

BLOCK_BYTES = 2**20
"""Least size of the blocks in which an object is streamed."""

_PARTS_AT_ONCE = 2

_T = TypeVar("_T")


class Remote:
    """A store at a URL. Threads may share it; nothing is contacted before the first call."""

    def __init__(self, connect: Connect, url: str) -> None:
        self.url = url
        self._connect = connect
        self._store: ObjectStore | None = None
        self._lock = threading.Lock()

    @classmethod
    def open(cls, url: str, *, publishing: bool = False, patience_s: float = PATIENCE_S) -> Remote:
        """Return the store at `url`: `file:///folder` or `s3://bucket/prefix`.

        Args:
            url: Settings of S3 (endpoint, region, credentials) come from the usual AWS variables.
            publishing: Creates the folder of a `file://` URL, and bears slow uploads.
            patience_s: Seconds until a store that does not answer is given up.

        Raises:
            UsageError: The URL or the endpoint cannot be meant.
        """
        base = url.rstrip("/") if url.rstrip("/").count("/") > 1 else url
        return cls(connection(base, publishing=publishing, patience_s=patience_s), base)

    def get(self, path: str, limit: int) -> bytes:
        """Return the bytes of a small object.

        Raises:
            NotFoundError: There is no such object, bucket or folder.
            IntegrityError: It is larger than `limit` bytes.
            StoreError: The store refused, or could not be reached.
        """

        def read(store: ObjectStore) -> bytes:
            result = store.get(path)
            if result.meta["size"] > limit:
                raise IntegrityError(f"{self.url}/{path}: {result.meta['size']} bytes; at most {limit} are read")
            return bytes(result.bytes())

        return self._call(path, read)

    def get_if_exists(self, path: str, limit: int) -> bytes | None:
        """Return the bytes of a small object, or None if the store holds no such object.

        Raises:
            NotFoundError: The store itself, its bucket or its folder, does not exist.
            StoreError: As for `get`.
        """
        try:
            return self.get(path, limit)
        except ObjectNotFoundError:
            return None

    def stream(self, path: str) -> Iterator[bytes]:
        """Yield the bytes of an object in blocks of about `BLOCK_BYTES`.

        Raises:
            NotFoundError: There is no such object, bucket or folder.
            StoreError: The store refused, or could not be reached, also on the way.
        """
        blocks = iter(self._call(path, lambda store: store.get(path).stream(BLOCK_BYTES)))
        while (block := self._call(path, lambda _: next(blocks, None))) is not None:
            yield block

    def put_create(self, path: str, data: bytes) -> None:
        """Write an object that does not exist yet.

        An object that holds exactly these bytes already counts as written: when the answer to a request
        is lost, the request is sent again and meets its own object.

        Raises:
            ConflictError: There is one with other bytes.
            StoreError: The store refused, or could not be reached.
        """
        try:
            self._call(path, lambda store: store.put(path, data, mode="create"))
        except ConflictError:
            if self.get_if_exists(path, len(data)) != data:
                raise

    def put_overwrite(self, path: str, data: bytes) -> None:
        """Write an object, over one that may exist.

        Raises:
            StoreError: The store refused, or could not be reached.
        """
        self._call(path, lambda store: store.put(path, data))

    def upload(self, path: str, blocks: Iterator[bytes], size: int) -> None:
        """Write a large object from blocks, in parts where it is larger than `PART_BYTES`.

        The object appears only when all blocks were taken; an error that `blocks` raises passes through.

        Raises:
            StoreError: The store refused, or could not be reached.
        """
        if size <= PART_BYTES:
            self.put_overwrite(path, b"".join(blocks))
            return
        raised: list[Exception] = []

        def guarded() -> Iterator[bytes]:
            try:
                yield from blocks
            except Exception as error:
                raised.append(error)
                raise

        def write(store: ObjectStore) -> None:
            store.put(path, guarded(), chunk_size=PART_BYTES, max_concurrency=_PARTS_AT_ONCE)

        try:
            self._call(path, write)
        except StoreError:
            if raised:
                raise raised[0] from None
            raise

    def list_folders(self, path: str = "") -> list[str]:
        """Return the names of the folders right below `path`, sorted; none if there is no such path.

        Raises:
            NotFoundError: The store itself does not exist.
            StoreError: The store refused, or could not be reached.
        """
        found = self._call(path, lambda store: store.list_with_delimiter(path or None))
        return sorted(name.rstrip("/").rpartition("/")[2] for name in found["common_prefixes"])

    def list_files(self, path: str) -> list[str]:
        """Return the names of the objects right below `path`, sorted; none if there is no such path.

        Raises:
            NotFoundError: The store itself does not exist.
            StoreError: The store refused, or could not be reached.
        """
        found = self._call(path, lambda store: store.list_with_delimiter(path))
        return sorted(entry["path"].rpartition("/")[2] for entry in found["objects"])

    def _call(self, path: str, action: Callable[[ObjectStore], _T]) -> _T:
        """Run one action of the library; what it raises leaves as one of our errors."""
        try:
            return action(self._connected())
        except StoreError:
            raise
        except Exception as error:
            raise translate(error, self.url, path) from error

    def _connected(self) -> ObjectStore:
        with self._lock:
            if self._store is None:
                self._store = self._connect()
            return self._store
