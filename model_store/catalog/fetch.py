"""One version's bytes from the store, checked as they arrive."""

from __future__ import annotations

from dataclasses import dataclass, replace

from model_store.errors import AccessDeniedError, IntegrityError, NotFoundError
from model_store.store.remote import Remote
from model_store.trust.manifest import Manifest, ManifestFile
from model_store.trust.signing import MAX_SIGNATURE_BYTES, Trust
from model_store.trust.verify import FileCheck, check_digest

from .reference import Resolved
from .versions import manifest_path, read_manifest_bytes, signature_path


@dataclass(frozen=True)
class RemoteVersion:
    """A version in the store, with its manifest, whose digest was checked."""

    remote: Remote
    resolved: Resolved
    manifest: Manifest

    def path(self, promised: ManifestFile) -> str:
        """Return where a file stands in the store."""
        return f"{self.resolved.model}/{self.resolved.version}/{promised.path}"

    def check(self, promised: ManifestFile) -> FileCheck:
        """Return what judges the bytes of a file; errors speak of the store."""
        return FileCheck(promised, f"{self.remote.url}/{self.path(promised)}")


@dataclass(frozen=True)
class FetchedVersion(RemoteVersion):
    """A version whose manifest was just fetched."""

    manifest_bytes: bytes
    signature: bytes | None
    """Checked where somebody is trusted, else as it lies in the store; None where nobody asked for one."""


def fetch_version(remote: Remote, resolved: Resolved, trust: Trust | None = None) -> FetchedVersion:
    """Fetch a version's manifest and check that it is the promised one.

    Args:
        remote: The store.
        resolved: The version.
        trust: Whose signature it must have; any version will do by default.

    Raises:
        NotFoundError: There is no such version.
        IntegrityError: The manifest has another digest.
        SignatureError: The version was not signed by the key that is trusted.
        ManifestError: The manifest is not valid, or of an unknown format.
        StoreError: The store refused, or could not be reached.
    """
    where = f"{remote.url}/{manifest_path(resolved.model, resolved.version)}"
    data = read_manifest_bytes(remote, resolved.model, resolved.version)
    if data is None:
        raise NotFoundError(f"{where}: not found, so there is no version {resolved.version}")
    check_digest(data, resolved.manifest_digest, where)
    signature = fetch_signature(remote, resolved, data, trust) if trust else None
    return FetchedVersion(remote, resolved, Manifest.parse(data), data, signature)


def fetch_to_keep(remote: Remote, resolved: Resolved, trust: Trust | None = None) -> FetchedVersion:
    """Fetch what `fetch_version` does, and the signature, if there is one, also where nobody is trusted yet.

    Raises:
        StoreError: As for `fetch_version`; never for a signature that nobody asked for and that cannot be read.
    """
    version = fetch_version(remote, resolved, trust)
    if trust:
        return version
    try:
        path = signature_path(resolved.model, resolved.version)
        return replace(version, signature=remote.get_if_exists(path, MAX_SIGNATURE_BYTES))
    except (AccessDeniedError, IntegrityError):  # not there to a reader who may not list, or too large for one
        return version


def fetch_signature(remote: Remote, resolved: Resolved, manifest_bytes: bytes, trust: Trust) -> bytes | None:
    """Fetch a version's signature and check it; returns None only where `trust` takes what is not signed.

    Raises:
        SignatureError: The version was not signed by the key that is trusted.
        StoreError: The store refused, or could not be reached.
    """
    signature = remote.get_if_exists(signature_path(resolved.model, resolved.version), MAX_SIGNATURE_BYTES)
    trust.check(manifest_bytes, signature, f"{remote.url}/{resolved.model}/{resolved.version}")
    return signature
