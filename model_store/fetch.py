"""One version's bytes from the store, checked as they arrive."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .errors import IntegrityError, NotFoundError
from .manifest import MANIFEST_NAME, Manifest, ManifestFile
from .progress import Advance
from .reference import Resolved
from .remote import Remote
from .verify import FileCheck, check_digest
from .versions import manifest_path, read_manifest_bytes
from .workers import Stop


@dataclass(frozen=True)
class RemoteVersion:
    """A version in the store, with its manifest, whose digest was checked."""

    remote: Remote
    resolved: Resolved
    manifest_bytes: bytes
    manifest: Manifest

    def blocks(self, promised: ManifestFile, stop: Stop, advance: Advance) -> Iterator[bytes]:
        """Yield the bytes of a file, and raise at the end unless they were the promised ones.

        More bytes than promised are not waited for; the stream ends at the first too many.

        Raises:
            IntegrityError: The bytes are not the promised ones, or the file is missing.
            StoreError: The store refused, or could not be reached.
        """
        path = f"{self.resolved.model}/{self.resolved.version}/{promised.path}"
        check = FileCheck(promised, f"{self.remote.url}/{path}")
        try:
            for block in self.remote.stream(path):
                stop.check()
                check.update(block)
                advance(len(block))
                yield block
        except NotFoundError as error:
            raise IntegrityError(f"{error}, though {MANIFEST_NAME} lists it") from error
        check.finish()


def fetch_version(remote: Remote, resolved: Resolved) -> RemoteVersion:
    """Fetch a version's manifest and check that it is the promised one.

    Raises:
        NotFoundError: There is no such version.
        IntegrityError: The manifest has another digest.
        ManifestError: It is not valid, or of an unknown format.
        StoreError: The store refused, or could not be reached.
    """
    where = f"{remote.url}/{manifest_path(resolved.model, resolved.version)}"
    data = read_manifest_bytes(remote, resolved.model, resolved.version)
    if data is None:
        raise NotFoundError(f"{where}: not found, so there is no version {resolved.version}")
    check_digest(data, resolved.manifest_digest, where)
    return RemoteVersion(remote, resolved, data, Manifest.parse(data))
