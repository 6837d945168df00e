from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from model_store.errors import SignatureError, UsageError
from model_store.trust.manifest import digest_of
from model_store.trust.signing import MAX_SIGNATURE_BYTES, Signer, Trust, signed_digest
from tests.model_store.keys import package_verifies, trust_of, write_key

pytestmark = pytest.mark.usefixtures("no_network")

MANIFEST = b'{"format": 1}\n'


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()])
@pytest.mark.parametrize("password", [None, "gehéim"])
def test_what_was_signed_passes(tmp_path: Path, curve: ec.EllipticCurve, password: str | None) -> None:
    pem = write_key(tmp_path, "k", ec.generate_private_key(curve), password.encode() if password else None)
    signature = Signer.from_file(pem, password).sign(MANIFEST, "xception")
    assert signed_digest(signature, "here") == digest_of(MANIFEST)
    trust_of(pem).check(MANIFEST, signature, "here")


def changed(signature: bytes, change: Callable[[dict[str, Any]], object]) -> bytes:
    document = json.loads(signature)
    change(document)
    return json.dumps(document).encode()


def forged(signature: bytes, manifest: bytes) -> bytes:
    """The same signature over the statement that another manifest would have."""

    def replace(document: dict[str, Any]) -> None:
        statement = json.loads(base64.b64decode(document["dsseEnvelope"]["payload"]))
        digest = hashlib.sha256(manifest)
        statement["predicate"]["resources"][0]["digest"] = digest.hexdigest()
        statement["subject"][0]["digest"]["sha256"] = hashlib.sha256(digest.digest()).hexdigest()
        document["dsseEnvelope"]["payload"] = base64.b64encode(json.dumps(statement).encode()).decode()

    return changed(signature, replace)


def test_what_was_not_signed_by_the_owner_of_the_key_is_refused(key: Path, other_key: Path) -> None:
    trust = trust_of(key)
    good = Signer.from_file(key).sign(MANIFEST, "xception")
    strange = Signer.from_file(other_key).sign(MANIFEST, "xception")
    hint = json.loads(good)["verificationMaterial"]["publicKey"]["hint"]
    pretends = changed(strange, lambda d: d["verificationMaterial"]["publicKey"].update(hint=hint))
    cases = [
        (MANIFEST, None, "is not signed, and only versions signed with the key of"),
        (MANIFEST, strange, "is signed with another key than the one that"),
        (MANIFEST, pretends, "the signature is not valid"),
        (MANIFEST + b" ", good, "the signature is of another manifest, sha256:"),
        (b"another", forged(good, b"another"), "the signature is not valid"),
    ]
    for manifest, signature, says in cases:
        with pytest.raises(SignatureError, match=f"^this version: {says}"):
            trust.check(manifest, signature, "this version")
    trust.check(MANIFEST, good, "this version")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda d: d.clear(), "not made by the package"),
        (lambda d: d.update(dsse_envelope={}), "not made by the package"),
        (lambda d: d.update(verificationMaterial=[]), "names no public key"),
        (lambda d: d["verificationMaterial"]["publicKey"].clear(), "names no public key"),
        (lambda d: d["dsseEnvelope"].update(payload="not base64!"), "does not cover exactly one file"),
        (
            lambda d: d["dsseEnvelope"].update(payload=base64.b64encode(b"[]").decode()),
            "does not cover exactly one file",
        ),
        (lambda d: d["dsseEnvelope"].update(signatures=[]), "not valid"),
        (lambda d: d.update(mediaType="text/plain"), "not valid"),
    ],
)
def test_signatures_that_cannot_be_read(key: Path, change: Callable[[dict[str, Any]], object], says: str) -> None:
    signature = changed(Signer.from_file(key).sign(MANIFEST, "xception"), change)
    with pytest.raises(SignatureError, match=says):
        trust_of(key).check(MANIFEST, signature, "here")


@pytest.mark.parametrize(
    "garbage", [b"", b"garbage", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b"1" * (MAX_SIGNATURE_BYTES + 1)]
)
def test_garbage(key: Path, garbage: bytes) -> None:
    with pytest.raises(SignatureError, match=r"the signature (cannot be read|has \d+ bytes)"):
        trust_of(key).check(MANIFEST, garbage, "here")


def sign_with_the_package(folder: Path, key: Path, *more: str) -> bytes:
    signature = folder.parent / "signature"
    command = ["sign", "key", str(folder), "--private_key", str(key), "--signature", str(signature), *more]
    subprocess.run([sys.executable, "-m", "model_signing", *command], check=True, capture_output=True)
    return signature.read_bytes()


@pytest.mark.parametrize("names", [["other.txt"], ["manifest.json", "other.txt"]])
def test_a_signature_of_other_files_says_nothing_of_the_manifest(tmp_path: Path, key: Path, names: list[str]) -> None:
    folder = tmp_path / "signed"
    folder.mkdir()
    for name in names:
        (folder / name).write_bytes(MANIFEST)
    with pytest.raises(SignatureError, match=r"does not cover exactly one file|is of 'other\.txt'"):
        trust_of(key).check(MANIFEST, sign_with_the_package(folder, key), "here")


def test_a_signature_that_leaves_the_manifest_out_is_refused(tmp_path: Path, key: Path) -> None:
    folder = tmp_path / "signed"
    folder.mkdir()
    (folder / "manifest.json").write_bytes(MANIFEST)
    signature = sign_with_the_package(folder, key, "--ignore-paths", str(folder / "manifest.json"))
    (folder / "manifest.json").write_bytes(b"anything else")
    (folder / "model.sig").write_bytes(signature)
    assert package_verifies(folder, key, "--ignore_unsigned_files").returncode == 0  # why it must be refused here
    with pytest.raises(SignatureError, match="does not cover exactly one file"):
        trust_of(key).check(b"anything else", signature, "here")


def test_keys_that_cannot_be_used(tmp_path: Path, key: Path) -> None:
    for name, private in {
        "rsa": rsa.generate_private_key(65537, 2048),
        "edwards": ed25519.Ed25519PrivateKey.generate(),
        "koblitz": ec.generate_private_key(ec.SECP256K1()),
    }.items():
        write_key(tmp_path, name, private)
    for name in ("text.pem", "text.pub"):
        (tmp_path / name).write_bytes(b"no key")
    (tmp_path / "big").write_bytes(b"x" * 100_000)
    encrypted = write_key(tmp_path, "locked", ec.generate_private_key(ec.SECP256R1()), b"right")
    for name in ("rsa", "edwards", "koblitz", "text"):
        with pytest.raises(UsageError, match=rf"{name}\.pem: is not a private key to sign with"):
            Signer.from_file(tmp_path / f"{name}.pem")
        with pytest.raises(UsageError, match=rf"{name}\.pub: is not a public key"):
            Trust.from_file(tmp_path / f"{name}.pub")
    with pytest.raises(UsageError, match="is not a public key"):
        Trust.from_file(key)
    for name, says in (("none", "cannot be read: No such file"), (".", "cannot be read"), ("big", "is not a key")):
        for read in (Trust.from_file, Signer.from_file):
            with pytest.raises(UsageError, match=says):
                read(tmp_path / name)
    for pem, password, says in (
        (encrypted, None, "MODEL_SIGNING_PASSWORD is not set, but the key is encrypted"),
        (encrypted, "wrong", "or MODEL_SIGNING_PASSWORD does not open it"),
        (key, "right", "MODEL_SIGNING_PASSWORD is set, but the key is not encrypted"),
    ):
        with pytest.raises(UsageError, match=says):
            Signer.from_file(pem, password)
