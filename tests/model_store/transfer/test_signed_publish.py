"""Signed versions on their way: published with the signature, pulled, verified, shown."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from model_store.cli.app import main
from model_store.errors import SignatureError
from model_store.store.remote import Remote
from model_store.transfer.publish import publish
from model_store.trust.signing import Signer
from tests.model_store.conftest import Store
from tests.model_store.keys import package_verifies, trust_of, write_key
from tests.model_store.samples import contents, start_python, write_version

pytestmark = pytest.mark.usefixtures("no_network")

WITHOUT_THE_PACKAGE = """
    import sys
    sys.modules["model_signing"] = None
    from model_store.cli.app import main
    sys.exit(main(sys.argv[1:]))
"""


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
    with pytest.raises(SignatureError, match=r"model\.sig: is of another manifest, .*sign again with --sign KEY"):
        publish(another, remote, "xception")
    assert publish(another, remote, "xception", signer=Signer.from_file(key)).version == 3
    (small / "model.sig").unlink()
    assert not publish(small, remote, "xception").signed
    assert "model.sig" not in remote.list_files("xception/4")


def test_a_whole_life(
    file_store: Store, small: Path, key: Path, other_key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODEL_STORE_URL", file_store.url)
    locked = write_key(tmp_path, "locked", ec.generate_private_key(ec.SECP384R1()), b"right")
    public, strange = str(key.with_suffix(".pub")), str(other_key.with_suffix(".pub"))

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
    assert package_verifies(folder, other_key, "--ignore_unsigned_files").returncode != 0
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
