"""Fetch the manifest and the signature of a version, and check them."""

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

    def path(self, expected: ManifestFile) -> str:
        """Return the path of a file in the store."""
        return f"{self.resolved.model}/{self.resolved.version}/{expected.path}"

    def check(self, expected: ManifestFile) -> FileCheck:
        """Return the check of a file's bytes; its errors name the store."""
        return FileCheck(expected, f"{self.remote.url}/{self.path(expected)}")


@dataclass(frozen=True)
class FetchedVersion(RemoteVersion):
    """A version whose manifest was just fetched."""

    manifest_bytes: bytes
    signature: bytes | None
    """Checked if a key is trusted, else as stored; None if there is none or it was not fetched."""


def fetch_version(remote: Remote, resolved: Resolved, trust: Trust | None = None) -> FetchedVersion:
    """Fetch a version's manifest and check its digest.

    Args:
        remote: The store.
        resolved: The version.
        trust: Whose signature it must have; by default none is required.

    Raises:
        NotFoundError: There is no such version.
        IntegrityError: The manifest has another digest.
        SignatureError: The version was not signed with the trusted key.
        ManifestError: The manifest is not valid, or of an unknown format.
        StoreError: The store denied access, or could not be reached.
    """
    where = f"{remote.url}/{manifest_path(resolved.model, resolved.version)}"
    data = read_manifest_bytes(remote, resolved.model, resolved.version)
    if data is None:
        raise NotFoundError(f"{where}: not found, so there is no version {resolved.version}")
    check_digest(data, resolved.manifest_digest, where)
    signature = fetch_signature(remote, resolved, data, trust) if trust else None
    return FetchedVersion(remote, resolved, Manifest.parse(data), data, signature)


def fetch_with_signature(remote: Remote, resolved: Resolved, trust: Trust | None = None) -> FetchedVersion:
    """Fetch a version's manifest and its signature, if there is one, also without a trusted key.

    Raises:
        StoreError: As for `fetch_version`; not for an unreadable signature where `trust` is None.
    """
    version = fetch_version(remote, resolved, trust)
    if trust:
        return version
    try:
        path = signature_path(resolved.model, resolved.version)
        return replace(version, signature=remote.get_if_exists(path, MAX_SIGNATURE_BYTES))
    except (AccessDeniedError, IntegrityError):  # missing, to a reader who may not list, or too large
        return version


def fetch_signature(remote: Remote, resolved: Resolved, manifest_bytes: bytes, trust: Trust) -> bytes | None:
    """Fetch a version's signature and check it.

    Raises:
        SignatureError: The version was not signed with the trusted key.
        StoreError: The store denied access, or could not be reached.
    """
    signature = remote.get_if_exists(signature_path(resolved.model, resolved.version), MAX_SIGNATURE_BYTES)
    trust.check(manifest_bytes, signature, f"{remote.url}/{resolved.model}/{resolved.version}")
    return signature
