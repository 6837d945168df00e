"""The local cache of verified versions.

<root>/<model>/sha256-<hex>/           an entry: `manifest.json` with this digest, and verified files
<root>/.incoming/<model>/sha256-<hex>/ an incomplete entry; one rename completes it
<root>/.incoming/parts/                incomplete files, named by their content or uniquely
<root>/.last-good/<model>/             the version of each selector that served last

No model name begins with a dot, so none can collide with these folders.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from filelock import FileLock, Timeout
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from model_store.catalog.names import DEFAULT_LABEL, check_model_name
from model_store.catalog.reference import Resolved, Selector, parse_selector
from model_store.disk import disk_errors, token, write_whole
from model_store.trust.manifest import Manifest, is_digest
from model_store.trust.signing import Trust
from model_store.trust.verify import VerifiedModel, check_digest, read_manifest, read_signature, verify_folder

Select = Callable[[Manifest], Collection[str]]
"""Selects the required paths of a manifest."""

LOCK_TIMEOUT_S = 900.0
"""After that a pull continues without the lock: a stuck holder costs a second download, never a wrong file."""

STALE_PART_S = 86_400.0
"""Age from which an unchanged part is deleted: a day."""


class _LastGood(BaseModel):
    """The content of a last-good record."""

    model_config = ConfigDict(extra="ignore")

    format: Literal[1] = 1
    created: AwareDatetime
    version: Annotated[int, Field(ge=1)]
    manifest: Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]


class Cache:
    """A folder of verified versions; several processes may share it."""

    def __init__(self, root: Path) -> None:
        self.root = root.expanduser().absolute()

    def entry(self, resolved: Resolved) -> Path:
        """Return the folder of a version, whether it exists or not."""
        return self.root / resolved.model / _folder_name(resolved)

    def incoming(self, resolved: Resolved) -> Path:
        """Return the folder of a version's incomplete entry."""
        return self.root / ".incoming" / resolved.model / _folder_name(resolved)

    @property
    def parts(self) -> Path:
        """Return the folder of incomplete files."""
        return self.root / ".incoming" / "parts"

    def part(self) -> Path:
        """Return a unique path for an incomplete file."""
        return self.parts / token()

    @contextmanager
    def lock(self, resolved: Resolved) -> Iterator[None]:
        """Prevent other processes from fetching the same version at the same time.

        The lock only saves work: pulls are correct without it. So the pull continues if the file system has no locks,
        or the holder is stuck.

        Raises:
            DiskError: The cache cannot be written.
        """
        path = self._lock_of(self.incoming(resolved))
        with disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(path, timeout=LOCK_TIMEOUT_S)
            held = _acquire(lock)
        try:
            yield
        finally:
            if held:
                lock.release()

    def sweep(self) -> None:
        """Remove parts and incomplete entries that were left behind more than a day ago.

        Never those being pulled: their lock is held, or their files are younger.
        """
        oldest = time.time() - STALE_PART_S
        for part in self.parts.glob("*"):
            try:
                if part.stat().st_mtime < oldest:
                    part.unlink()
            except OSError:
                continue  # another process swept it, or will
        for made in (self.root / ".incoming").glob("*/sha256-*/"):
            with suppress(OSError, Timeout, NotImplementedError):
                if _changed(made) < oldest:
                    with FileLock(self._lock_of(made), timeout=0):
                        self._evict(made)

    def verified(
        self,
        resolved: Resolved,
        *,
        select: Select | None = None,
        passed: Callable[[int], object] | None = None,
        trust: Trust | None = None,
    ) -> VerifiedModel:
        """Return a version from the cache alone, hashing its files again.

        Args:
            resolved: The version.
            select: Selects the required files; all by default.
            passed: Called with the length of each block once it is hashed.
            trust: Whose signature it must have; by default none is required.

        Raises:
            NotFoundError: It is not in the cache.
            IntegrityError: A file is missing, or differs from its entry.
            SignatureError: It was not signed with the trusted key, or pulled without its signature.
        """
        root = self.entry(resolved)
        with disk_errors(root):
            data, manifest = read_manifest(root)
            # The manifest must be verified before it selects anything.
            check_digest(data, resolved.manifest_digest, str(root))
            if trust:
                trust.check(data, read_signature(root), str(root))
            return verify_folder(
                root,
                model=resolved.model,
                version=resolved.version,
                digest=resolved.manifest_digest,
                files=select(manifest) if select else None,
                passed=passed,
            )

    def remember(self, model: VerifiedModel, selector: Selector = DEFAULT_LABEL) -> None:
        """Record that a version served, resolved from `selector`.

        Raises:
            UsageError: The selector is not a version, label or digest.
            DiskError: The cache cannot be written.
        """
        path = self._last_good(model.model, selector)
        record = _LastGood(created=datetime.now(UTC), version=model.version, manifest=model.digest)
        with disk_errors(path):
            write_whole(path, [record.model_dump_json().encode() + b"\n"], self.part())

    def recall(self, model: str, selector: Selector = DEFAULT_LABEL) -> Resolved | None:
        """Return the version that served last for `selector`, or None if it is unknown or deleted.

        Raises:
            UsageError: The name or the selector is not valid.
            DiskError: Access to the cache is denied.
        """
        wanted = parse_selector(str(selector))
        path = self._last_good(model, wanted)
        with disk_errors(path):
            try:
                record = _LastGood.model_validate_json(path.read_bytes())
            except (FileNotFoundError, NotADirectoryError, ValidationError):
                return None
            label = wanted if isinstance(wanted, str) and not is_digest(wanted) else None
            resolved = Resolved(model, record.version, record.manifest, label)
            return resolved if self.entry(resolved).is_dir() else None

    def shrink(self, model: str, most: int, needed: Collection[str]) -> list[str]:
        """Remove the oldest versions of a model beyond `most`, and return their digests.

        Never those in `needed`, nor any that served last for some selector: a restart may need them.

        Args:
            model: A model name.
            most: Maximum number of versions, those that must stay included.
            needed: Digests of versions that are in use.

        Raises:
            DiskError: The cache cannot be written.
        """
        with disk_errors(self.root):
            for rest in (self.root / ".incoming").glob("evicted-*"):  # left by an interrupted removal
                shutil.rmtree(rest, ignore_errors=True)
            kept = {digest.replace(":", "-") for digest in needed} | self._served_last(model)
            entries = sorted(
                (self.root / check_model_name(model)).glob("sha256-*"), key=lambda path: path.stat().st_mtime
            )
            spare = [path for path in entries if path.name not in kept]
            gone = spare[: max(0, len(entries) - most)]
            for path in gone:
                self._evict(path)
        return [path.name.replace("-", ":", 1) for path in gone]

    def _evict(self, folder: Path) -> None:
        """Remove a folder atomically.

        Raises:
            OSError: The disk denies access.
        """
        beside = self.root / ".incoming" / f"evicted-{token()}"
        beside.parent.mkdir(parents=True, exist_ok=True)
        folder.rename(beside)
        shutil.rmtree(beside, ignore_errors=True)

    def _lock_of(self, incoming: Path) -> Path:
        """Return the lock file of an incomplete entry."""
        return self.root / ".incoming" / f"{incoming.parent.name}-{incoming.name}.lock"

    def _served_last(self, model: str) -> set[str]:
        found = set()
        for path in (self.root / ".last-good" / model).glob("*.json"):
            try:
                found.add(_LastGood.model_validate_json(path.read_bytes()).manifest.replace(":", "-"))
            except (OSError, ValidationError):
                continue
        return found

    def _last_good(self, model: str, selector: Selector) -> Path:
        # A digest is longer than any label, so their names differ; not every file system allows a colon.
        name = f"{parse_selector(str(selector))}.json".replace(":", "-")
        return self.root / ".last-good" / check_model_name(model) / name


def _folder_name(resolved: Resolved) -> str:
    return resolved.manifest_digest.replace(":", "-")


def _changed(folder: Path) -> float:
    """Return the time of the last change in a folder, in seconds since 1970."""
    return max(path.stat().st_mtime for path in (folder, *folder.rglob("*")))


def _acquire(lock: FileLock) -> bool:
    try:
        lock.acquire()
    except (Timeout, NotImplementedError):
        return False
    return True
