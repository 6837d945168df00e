"""Signatures of manifests, and so of every file of a version.

`<version>/model.sig` is a signature of the OpenSSF `model-signing` package, made with an elliptic-curve key, that
covers `manifest.json` alone; the manifest holds the hash of each file. It covers the content of a version, not
its number or its labels. The package is imported only to sign or check; nothing here needs a network. The
package's own command checks a pulled folder too:

    model_signing verify key FOLDER --signature FOLDER/model.sig --public_key KEY.pub --ignore_unsigned_files
"""

from __future__ import annotations

import base64
import hashlib
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model_store.disk import disk_errors
from model_store.errors import SignatureError, UsageError

from .manifest import MANIFEST_NAME, SIGNATURE_NAME, digest_of, is_digest

if TYPE_CHECKING:
    from model_signing.signing import Config

__all__ = ["MAX_SIGNATURE_BYTES", "PASSWORD_VARIABLE", "SIGNATURE_NAME", "Signer", "Trust", "signed_digest"]

MAX_SIGNATURE_BYTES = 2**20
"""A signature takes about 2 kB; larger ones are rejected unread."""

PASSWORD_VARIABLE = "MODEL_SIGNING_PASSWORD"
"""The password of an encrypted private key; never an argument, which other users of the machine could read."""

_MAX_KEY_BYTES = 2**16
"""A PEM file of one key takes less than 1 kB."""

_FIELDS = {"mediaType", "verificationMaterial", "dsseEnvelope"}

_MISSING = (
    "signatures need the package 'model-signing' and what it imports, which is not installed here: "
    "install the extra 'signing' (pip install 'xception-service[signing]')"
)


class Trust:
    """A trusted public key; accepts only versions signed with its private key. Thread-safe."""

    def __init__(self, pem: bytes, fingerprint: str, source: str) -> None:
        self.source = source
        """The file that the key came from; for messages."""
        self._pem = pem
        self._fingerprint = fingerprint

    @classmethod
    def from_file(cls, path: Path) -> Trust:
        """Read a public key: a PEM file of an elliptic-curve key (P-256, P-384 or P-521).

        Raises:
            UsageError: The file cannot be read or is no such key, or the package is not installed.
        """
        pem = _key_bytes(path)
        with _package():
            from cryptography.hazmat.primitives import serialization
            from model_signing.verifying import Config
        try:
            Config().use_elliptic_key_verifier(public_key=path)
            canonical = serialization.load_pem_public_key(pem).public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        # The package takes any kind of key for one of its own, and fails on its missing attributes.
        except Exception as error:
            raise UsageError(
                f"{path}: is not a public key to check signatures with (a PEM file of an elliptic-curve key "
                "on P-256, P-384 or P-521); make one with: openssl ec -in KEY.pem -pubout -out KEY.pub"
            ) from error
        return cls(pem, hashlib.sha256(canonical).hexdigest(), str(path))

    def check(self, manifest_bytes: bytes, signature: bytes | None, where: str) -> None:
        """Check that the owner of the key signed exactly these bytes.

        Args:
            manifest_bytes: The content of `manifest.json`.
            signature: The content of `model.sig`, or None where there is none.
            where: What is checked; for messages.

        Raises:
            SignatureError: It is not signed, signed by another, or the signature is not valid or of another manifest.
            UsageError: The package is not installed.
            DiskError: There is no room for temporary files.
        """
        if signature is None:
            raise SignatureError(
                f"{where}: is not signed, and only versions signed with the key of {self.source} are accepted; "
                "publish it with --sign, or take a signed version"
            )
        bundle = _parsed(signature, where)
        if _key_in(bundle, where) != self._fingerprint:
            raise SignatureError(f"{where}: is signed with another key than the one that {self.source} belongs to")
        expected, found = _digest_in(bundle, where), digest_of(manifest_bytes)
        if expected != found:
            raise SignatureError(f"{where}: the signature is of another manifest, {expected}; found {found}")
        self._check_with_package(manifest_bytes, signature, where)

    def _check_with_package(self, manifest_bytes: bytes, signature: bytes, where: str) -> None:
        with _package():
            from model_signing.verifying import Config
        with disk_errors(Path(tempfile.gettempdir())), _folder_with(manifest_bytes, "version") as folder:
            key, signature_file = folder.parent / "key.pub", folder.parent / SIGNATURE_NAME
            key.write_bytes(self._pem)
            signature_file.write_bytes(signature)
            try:
                Config().use_elliptic_key_verifier(public_key=key).verify(folder, signature_file)
            # It raises errors of any type: every one means that the signature is not valid.
            except Exception as error:
                reason = " ".join(str(error).split()) or "it was not made with this key, or was changed"
                raise SignatureError(f"{where}: the signature is not valid: {reason}") from error


class Signer:
    """A private key that signs versions."""

    def __init__(self, config: Config) -> None:
        self._config = config

    @classmethod
    def from_file(cls, path: Path, password: str | None = None) -> Signer:
        """Read a private key: a PEM file of an elliptic-curve key (P-256, P-384 or P-521).

        Args:
            path: The file.
            password: The password of an encrypted key.

        Raises:
            UsageError: The file cannot be read or is no such key, the password does not open it, or the
                package is not installed.
        """
        _key_bytes(path)
        with _package():
            from model_signing.signing import Config
        try:
            # The package hands the password to a library that takes bytes, whatever it says itself.
            secret: Any = password.encode() if password else None
            return cls(Config().use_elliptic_key_signer(private_key=path, password=secret))
        except TypeError as error:
            found = "set, but the key is not encrypted" if password else "not set, but the key is encrypted"
            raise UsageError(f"{path}: {PASSWORD_VARIABLE} is {found}") from error
        except Exception as error:
            raise UsageError(
                f"{path}: is not a private key to sign with (a PEM file of an elliptic-curve key on P-256, P-384 or "
                f"P-521), or {PASSWORD_VARIABLE} does not open it; make one with: "
                "openssl ecparam -name prime256v1 -genkey -noout -out KEY.pem"
            ) from error

    def sign(self, manifest_bytes: bytes, name: str) -> bytes:
        """Return the signature of a manifest, to be stored as `model.sig`.

        Args:
            manifest_bytes: The content of `manifest.json`.
            name: A name to show in the signature; it is not checked.

        Raises:
            DiskError: There is no room for temporary files.
        """
        with disk_errors(Path(tempfile.gettempdir())), _folder_with(manifest_bytes, name) as folder:
            signature_file = folder.parent / SIGNATURE_NAME
            self._config.sign(folder, signature_file)
            return signature_file.read_bytes()


def signed_digest(signature: bytes, where: str) -> str:
    """Return the digest of the manifest that a signature covers, without checking the signer.

    Raises:
        SignatureError: It cannot be read, or covers something else.
    """
    return _digest_in(_parsed(signature, where), where)


def _parsed(signature: bytes, where: str) -> dict[str, Any]:
    if len(signature) > MAX_SIGNATURE_BYTES:
        raise SignatureError(
            f"{where}: the signature has {len(signature)} bytes; at most {MAX_SIGNATURE_BYTES} are read"
        )
    try:
        document = json.loads(signature)
    except (ValueError, RecursionError) as error:
        raise SignatureError(f"{where}: the signature cannot be read: it is not JSON") from error
    # The package might read a second spelling of a field where this module reads the first.
    if not isinstance(document, dict) or document.keys() != _FIELDS:
        raise SignatureError(f"{where}: the signature cannot be read: it was not made by the package 'model-signing'")
    return document


def _key_in(bundle: dict[str, Any], where: str) -> str:
    """Return the SHA-256 of the public key (PEM) that a signature names."""
    try:
        return str(bundle["verificationMaterial"]["publicKey"]["hint"])
    except (KeyError, TypeError, RecursionError) as error:
        raise SignatureError(f"{where}: the signature cannot be read: it names no public key") from error


def _digest_in(bundle: dict[str, Any], where: str) -> str:
    """Return the digest of the only file that may be signed, the manifest.

    Checked here as well as by the package: a signature can exclude files, and one that excludes the manifest would
    pass the package's check for any manifest.
    """
    try:
        statement = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"], validate=True))
        (resource,) = statement["predicate"]["resources"]
        named, algorithm, value = (str(resource[key]) for key in ("name", "algorithm", "digest"))
        if not is_digest(f"sha256:{value}"):
            raise ValueError(value)
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise SignatureError(f"{where}: the signature cannot be read: it does not cover exactly one file") from error
    if (named, algorithm) != (MANIFEST_NAME, "sha256"):
        raise SignatureError(f"{where}: the signature is of {named!r} ({algorithm!r}), not of {MANIFEST_NAME} (sha256)")
    return f"sha256:{value}"


def _key_bytes(path: Path) -> bytes:
    try:
        if path.stat().st_size > _MAX_KEY_BYTES:
            raise UsageError(f"{path}: is not a key: it has more than {_MAX_KEY_BYTES} bytes")
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: the key cannot be read: {error.strerror}") from error


@contextmanager
def _package() -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise UsageError(f"{_MISSING}: {error}") from error


@contextmanager
def _folder_with(manifest_bytes: bytes, name: str) -> Iterator[Path]:
    """Yield a folder with only a manifest in it, as the package signs and checks folders."""
    with tempfile.TemporaryDirectory(prefix="model-signing-") as temporary:
        folder = Path(temporary) / name
        folder.mkdir()
        (folder / MANIFEST_NAME).write_bytes(manifest_bytes)
        yield folder
