"""The remote store: objects to read, list, create and overwrite."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Self, TypeVar

from model_store.errors import ConflictError, IntegrityError, ObjectNotFoundError, StoreError, UsageError

from .error_translation import translate
from .schemes import Connect, connection, is_web

if TYPE_CHECKING:
    from obstore import GetOptions, GetResult
    from obstore.store import ObjectStore

PATIENCE_S = 15.0
"""Total timeout for a store that does not respond, connecting and retries included."""

PART_BYTES = 8 * 2**20
"""Size of a part of a multipart upload; smaller objects take one request."""

BLOCK_BYTES = 2**20
"""Minimum size of the blocks of a stream."""

_PARTS_AT_ONCE = 2

_LIST_CHUNK = 1000
"""Objects per chunk of a listing; S3 returns no more in one response."""

_T = TypeVar("_T")


class Stream:
    """A response of the store: the blocks of an object as they arrive, and its identity."""

    def __init__(self, blocks: Iterator[bytes], size: int, etag: str | None) -> None:
        self.size = size
        """Bytes of the whole object, also for a range."""
        self.etag = etag
        """The object's ETag; None if the store sends none."""
        self._blocks = blocks

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        return next(self._blocks)


class Remote:
    """A store at a URL. Thread-safe; the first call connects."""

    def __init__(self, connect: Connect, url: str, patience_s: float = PATIENCE_S) -> None:
        self.url = url
        self.patience_s = patience_s
        self._connect = connect
        self._store: ObjectStore | None = None
        self._lock = threading.Lock()

    @classmethod
    def open(cls, url: str, *, publishing: bool = False, patience_s: float = PATIENCE_S) -> Remote:
        """Return the store at `url`, as in `file:///folder` or `s3://bucket/prefix`; `schemes.py` lists the schemes.

        Args:
            url: Its URL; endpoints and credentials come from the usual variables of each cloud.
            publishing: Creates the folder of a `file://` URL, and allows slow uploads.
            patience_s: Total timeout in seconds for a store that does not respond.

        Raises:
            UsageError: The URL or an endpoint is not valid, or the store is read-only and `publishing` is set.
        """
        base = url.rstrip("/") if url.rstrip("/").count("/") > 1 else url
        return cls(connection(base, publishing=publishing, patience_s=patience_s), base, patience_s)

    @property
    def is_local(self) -> bool:
        """Return whether the store is a local folder."""
        return self.url.startswith("file:")

    def get(self, path: str, limit: int) -> bytes:
        """Return the bytes of a small object.

        Raises:
            NotFoundError: There is no such object, bucket or folder.
            IntegrityError: It is larger than `limit` bytes.
            StoreError: The store denied access, or could not be reached.
        """

        def read(store: ObjectStore) -> bytes:
            return self._whole(path, store.get(path), limit)

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

    def get_if_changed(self, path: str, limit: int, etag: str | None) -> tuple[bytes, str | None] | None:
        """Return the bytes and the ETag of a small object, or None if it still has the ETag given.

        Args:
            path: The object.
            limit: Maximum number of bytes.
            etag: As returned by the last call; None always returns the bytes.

        Raises:
            StoreError: As for `get`.
        """

        def read(store: ObjectStore) -> tuple[bytes, str | None] | None:
            options: GetOptions = {"if_none_match": etag} if etag is not None else {}
            try:
                result = store.get(path, options=options)
            except Exception as error:
                if type(error).__name__ == "NotModifiedError":
                    return None
                raise
            found = result.meta["e_tag"]
            if etag is not None and found == etag:
                return None  # a web server without conditional requests
            return self._whole(path, result, limit), found

        return self._call(path, read)

    def stream(self, path: str, start: int = 0, end: int | None = None) -> Stream:
        """Open a stream of an object, or of a range of it, in blocks of about `BLOCK_BYTES`.

        Args:
            path: The object.
            start: The first byte, from 0.
            end: The byte to stop before; the object's end if None.

        Raises:
            NotFoundError: There is no such object, bucket or folder.
            IntegrityError: The object ends before `start`.
            StoreError: The store denied access, or could not be reached; also raised by the stream.
        """
        options: GetOptions = {}
        if end is not None:
            options["range"] = (start, end)
        elif start:
            options["range"] = {"offset": start}
        result = self._call(path, lambda store: store.get(path, options=options))
        source = iter(result.stream(BLOCK_BYTES))

        def blocks() -> Iterator[bytes]:
            while (block := self._call(path, lambda _: next(source, None))) is not None:
                yield block

        return Stream(blocks(), result.meta["size"], result.meta["e_tag"])

    def supports_ranges(self, path: str) -> bool:
        """Return whether a range of an object can be read; some web servers always send the whole object.

        Raises:
            StoreError: As for `stream`.
        """
        if not is_web(self.url):
            return True
        try:
            return len(b"".join(self.stream(path, 0, 1))) == 1
        except UsageError:
            return False

    def put_create(self, path: str, data: bytes) -> None:
        """Write an object that does not exist yet.

        An existing object with exactly these bytes counts as written: when a response is lost, the library retries the
        request and finds its own object.

        Raises:
            ConflictError: It exists with other bytes.
            StoreError: The store denied access, or could not be reached.
        """
        self._writable()
        try:
            self._call(path, lambda store: store.put(path, data, mode="create"))
        except ConflictError:
            if not self._holds(path, data):
                raise

    def put_overwrite(self, path: str, data: bytes) -> None:
        """Write an object, replacing an existing one.

        Raises:
            StoreError: The store denied access, or could not be reached.
        """
        self._writable()
        self._call(path, lambda store: store.put(path, data))

    def upload(self, path: str, blocks: Iterator[bytes], size: int) -> None:
        """Write a large object from blocks, in parts if it is larger than `PART_BYTES`.

        The object appears only when all blocks were sent; an error raised by `blocks` propagates.

        Raises:
            StoreError: The store denied access, or could not be reached.
        """
        if size <= PART_BYTES:
            self.put_overwrite(path, b"".join(blocks))
            return
        self._writable()
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

    def delete(self, paths: Sequence[str]) -> None:
        """Delete objects; a missing one counts as deleted.

        Raises:
            UsageError: The store is read-only.
            StoreError: The store denied access, or could not be reached; some may be deleted then.
        """
        self._writable()
        if not paths:
            return
        try:
            self._call(paths[0], lambda store: store.delete(list(paths)))
        except ObjectNotFoundError:
            # A local folder stops at the first missing object; cloud stores do not.
            for path in paths:
                self._delete_one(path)

    def list_folders(self, path: str = "") -> list[str]:
        """Return the names of the folders right below `path`, sorted; none if there is no such path.

        Raises:
            NotFoundError: The store itself does not exist.
            StoreError: The store denied access, or could not be reached.
        """
        self._listable()
        found = self._call(path, lambda store: store.list_with_delimiter(path or None))
        return sorted(name.rstrip("/").rpartition("/")[2] for name in found["common_prefixes"])

    def list_files(self, path: str) -> list[str]:
        """Return the names of the objects right below `path`, sorted; none if there is no such path.

        Raises:
            NotFoundError: The store itself does not exist.
            StoreError: The store denied access, or could not be reached.
        """
        self._listable()
        found = self._call(path, lambda store: store.list_with_delimiter(path))
        return sorted(entry["path"].rpartition("/")[2] for entry in found["objects"])

    def list_all(self, prefix: str = "") -> list[tuple[str, int, datetime]]:
        """Return path, bytes and time of writing of every object below `prefix`, sorted by path.

        Raises:
            UsageError: The store cannot be listed.
            NotFoundError: The store itself does not exist.
            StoreError: The store denied access, or could not be reached.
        """
        self._listable()

        def walk(store: ObjectStore) -> list[tuple[str, int, datetime]]:
            chunks = store.list(prefix or None, chunk_size=_LIST_CHUNK)
            return [(entry["path"], entry["size"], entry["last_modified"]) for chunk in chunks for entry in chunk]

        return sorted(self._call(prefix, walk))

    def _whole(self, path: str, result: GetResult, limit: int) -> bytes:
        size = result.meta["size"]
        if size > limit:
            raise IntegrityError(f"{self.url}/{path}: {size} bytes; at most {limit} are read")
        return bytes(result.bytes())

    def _holds(self, path: str, data: bytes) -> bool:
        try:
            return self.get_if_exists(path, len(data)) == data
        except IntegrityError:
            return False  # it is longer

    def _delete_one(self, path: str) -> None:
        try:
            self._call(path, lambda store: store.delete(path))
        except ObjectNotFoundError:
            return

    def _writable(self) -> None:
        if is_web(self.url):
            raise UsageError(f"{self.url}: a web server's store is read-only; write to the store that it serves")

    def _listable(self) -> None:
        if is_web(self.url):
            raise UsageError(f"{self.url}: a web server's store cannot be listed; name a version or a label")

    def _call(self, path: str, action: Callable[[ObjectStore], _T]) -> _T:
        """Run one action of the library, and translate its errors."""
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
