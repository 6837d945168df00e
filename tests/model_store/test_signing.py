from __future__ import annotations

import base64
import hashlib
import io
import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from model_store.__main__ import main
from model_store.errors import SignatureError, UsageError
from model_store.manifest import digest_of
from model_store.publish import publish
from model_store.remote import Remote
from model_store.signing import MAX_SIGNATURE_BYTES, Signer, Trust, signed_digest

from .conftest import Store
from .samples import contents, start_python, write_version

MANIFEST = b'{"format": 1}\n'

WITHOUT_THE_PACKAGE = """
    import sys
    sys.modules["model_signing"] = None
    from model_store.__main__ import main
    sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """What asks the internet meets a closed port."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")


def write_key(root: Path, name: str, private: Any, password: bytes | None = None) -> Path:
    """Write NAME.pem and NAME.pub, and return the private one."""
    encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    pem, public = root / f"{name}.pem", root / f"{name}.pub"
    pem.write_bytes(private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption))
    public.write_bytes(
        private.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return pem


@pytest.fixture
def key(tmp_path: Path) -> Path:
    return write_key(tmp_path, "key", ec.generate_private_key(ec.SECP256R1()))


@pytest.fixture
def other(tmp_path: Path) -> Path:
    return write_key(tmp_path, "other", ec.generate_private_key(ec.SECP256R1()))


def trust_of(key: Path) -> Trust:
    return Trust.from_file(key.with_suffix(".pub"))


@dataclass(frozen=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


def run(*words: str) -> Done:
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main([*words, "--quiet"])
    return Done(code, out.getvalue(), err.getvalue())


def package_verifies(folder: Path, key: Path, *more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "model_signing", "verify", "key", str(folder), "--signature"]
    command += [str(folder / "model.sig"), "--public_key", str(key.with_suffix(".pub")), *more]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


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


def test_what_was_not_signed_by_the_owner_of_the_key_is_refused(key: Path, other: Path) -> None:
    trust = trust_of(key)
    good = Signer.from_file(key).sign(MANIFEST, "xception")
    strange = Signer.from_file(other).sign(MANIFEST, "xception")
    hint = json.loads(good)["verificationMaterial"]["publicKey"]["hint"]
    pretends = changed(strange, lambda d: d["verificationMaterial"]["publicKey"].update(hint=hint))
    cases = [
        (MANIFEST, None, "is not signed, and only what is signed with the key of"),
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
        (lambda d: d.clear(), "none of the package"),
        (lambda d: d.update(dsse_envelope={}), "none of the package"),
        (lambda d: d.update(verificationMaterial=[]), "names no public key"),
        (lambda d: d["verificationMaterial"]["publicKey"].clear(), "names no public key"),
        (lambda d: d["dsseEnvelope"].update(payload="not base64!"), "names no single file"),
        (lambda d: d["dsseEnvelope"].update(payload=base64.b64encode(b"[]").decode()), "names no single file"),
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
    with pytest.raises(SignatureError, match=r"names no single file|is of 'other\.txt'"):
        trust_of(key).check(MANIFEST, sign_with_the_package(folder, key), "here")


def test_a_signature_that_leaves_the_manifest_out_is_refused(tmp_path: Path, key: Path) -> None:
    folder = tmp_path / "signed"
    folder.mkdir()
    (folder / "manifest.json").write_bytes(MANIFEST)
    signature = sign_with_the_package(folder, key, "--ignore-paths", str(folder / "manifest.json"))
    (folder / "manifest.json").write_bytes(b"anything else")
    (folder / "model.sig").write_bytes(signature)
    assert package_verifies(folder, key, "--ignore_unsigned_files").returncode == 0  # why it must be refused here
    with pytest.raises(SignatureError, match="names no single file"):
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
        with pytest.raises(UsageError, match=rf"{name}\.pem: is no private key to sign with"):
            Signer.from_file(tmp_path / f"{name}.pem")
        with pytest.raises(UsageError, match=rf"{name}\.pub: is no public key"):
            Trust.from_file(tmp_path / f"{name}.pub")
    with pytest.raises(UsageError, match="is no public key"):
        Trust.from_file(key)
    for name, says in (("none", "cannot be read: No such file"), (".", "cannot be read"), ("big", "is no key")):
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


def test_the_signature_is_there_before_the_version_is(store: Store, small: Path, key: Path) -> None:
    written: list[str] = []

    class Noting(Remote):
        def put_create(self, path: str, data: bytes) -> None:
            super().put_create(path, data)
            written.append(path)

    inner = store.open()
    done = publish(small, Noting(inner._connect, inner.url), "xception", signer=Signer.from_file(key))
    assert done.signed
    assert written == ["xception/claims/000001.json", "xception/1/model.sig", "xception/1/manifest.json"]
    signature = inner.get("xception/1/model.sig", 10**5)
    trust_of(key).check(inner.get("xception/1/manifest.json", 10**6), signature, "xception:1")


def test_a_signed_folder_is_published_with_its_signature(store: Store, small: Path, key: Path, tmp_path: Path) -> None:
    manifest = (small / "manifest.json").read_bytes()
    (small / "model.sig").write_bytes(signature := Signer.from_file(key).sign(manifest, "elsewhere"))
    remote = store.open()
    assert publish(small, remote, "xception").signed
    assert remote.get("xception/1/model.sig", 10**5) == signature
    publish(small, remote, "xception", signer=Signer.from_file(key))
    assert remote.get("xception/2/model.sig", 10**5) != signature
    trust_of(key).check(manifest, remote.get("xception/2/model.sig", 10**5), "xception:2")

    another = write_version(tmp_path / "another", {"saved_model.pb": b"other"})
    (another / "model.sig").write_bytes(signature)
    with pytest.raises(SignatureError, match=r"model\.sig: is of another manifest, .*sign anew with --sign KEY"):
        publish(another, remote, "xception")
    assert publish(another, remote, "xception", signer=Signer.from_file(key)).version == 3
    (small / "model.sig").unlink()
    assert not publish(small, remote, "xception").signed
    assert "model.sig" not in remote.list_files("xception/4")


def test_a_whole_life(
    file_store: Store, small: Path, key: Path, other: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODEL_STORE_URL", file_store.url)
    locked = write_key(tmp_path, "locked", ec.generate_private_key(ec.SECP384R1()), b"right")
    public, strange = str(key.with_suffix(".pub")), str(other.with_suffix(".pub"))

    # Of other bytes each: a good signature of the same manifest would be as good under another number.
    two, three = (str(write_version(tmp_path / name, {"saved_model.pb": name.encode()})) for name in ("two", "three"))
    assert "signed" in run("publish", str(small), "--model", "x", "--sign", str(key)).stdout
    assert run("publish", two, "--model", "x", "--sign", str(locked)).returncode == 2
    monkeypatch.setenv("MODEL_SIGNING_PASSWORD", "right")
    assert json.loads(run("publish", two, "--model", "x", "--sign", str(locked), "--json").stdout)["signed"]
    monkeypatch.delenv("MODEL_SIGNING_PASSWORD")
    assert not json.loads(run("publish", three, "--model", "x", "--json").stdout)["signed"]

    folder = tmp_path / "pulled"
    done = run("pull", "x:1", "--output", str(folder), "--public-key", public)
    assert done.returncode == 0, done.stderr
    assert contents(folder).keys() == {*contents(small), "model.sig"}
    later = tmp_path / "pulled without the key"
    assert run("pull", "x:1", "--output", str(later)).returncode == 0
    for target in (str(folder), str(later), "x:1"):
        done = run("verify", target, "--public-key", public)
        assert (done.returncode, done.stdout.endswith(f", signed with the key of {public}\n")) == (0, True)
        answer = json.loads(run("verify", target, "--public-key", public, "--json").stdout)
        assert (answer["signed"], answer["key"]) == (True, public)
        assert "signed" not in run("verify", target).stdout
    for words in (["show"], ["verify"], ["pull", "--cache", str(tmp_path / "cache")]):
        assert run(*words, "x:1", "--public-key", public).returncode == 0
        for version, file, says in (
            ("x:1", strange, "is signed with another key"),
            ("x:2", public, "is signed with another key"),
            ("x:3", public, "is not signed"),
        ):
            monkeypatch.setenv("MODEL_PUBLIC_KEY", file)
            done = run(*words, version)
            assert (done.returncode, done.stdout) == (4, "")
            assert says in done.stderr
            monkeypatch.delenv("MODEL_PUBLIC_KEY")
    assert run("verify", "x:3").returncode == 0
    assert f"good, by the key of {public}" in run("show", "x:1", "--public-key", public).stdout
    assert "there, not checked" in run("show", "x:1").stdout
    assert "signature     none" in run("show", "x:3").stdout
    assert run("show", "x:1", "--public-key", str(small)).returncode == 2
    assert run("verify", str(small), "--public-key", public).returncode == 4

    done = package_verifies(folder, key, "--ignore_unsigned_files")
    assert done.returncode == 0, done.stderr
    assert package_verifies(folder, other, "--ignore_unsigned_files").returncode != 0
    (folder / "manifest.json").write_bytes((folder / "manifest.json").read_bytes() + b" ")
    assert package_verifies(folder, key, "--ignore_unsigned_files").returncode != 0
    done = run("verify", str(folder), "--public-key", public)
    assert done.returncode == 4
    assert "the signature is of another manifest" in done.stderr


def test_without_the_package_everything_else_works(file_store: Store, small: Path, key: Path) -> None:
    def run_without(*words: str) -> Done:
        process = start_python(WITHOUT_THE_PACKAGE, *words, "--store", file_store.url)
        out, err = process.communicate(timeout=60)
        return Done(process.returncode, out, err)

    publish_it = ("publish", str(small), "--model", "x")
    verify_it = ("verify", "x")
    for done in (
        run_without(*publish_it, "--sign", str(key)),
        run_without(*verify_it, "--public-key", str(key.with_suffix(".pub"))),
    ):
        assert done.returncode == 2
        assert "install the extra 'signing'" in done.stderr
    assert run_without(*publish_it, "--label", "stable").returncode == 0
    assert run_without(*verify_it).returncode == 0
