"""Pulls that take only what the owner of a key signed, with keys and signatures as people make them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from model_store.catalog.fetch import fetch_version
from model_store.catalog.reference import resolve
from model_store.errors import AccessDeniedError, SignatureError, UnavailableError
from model_store.store.remote import Remote
from model_store.transfer.cache import Cache
from model_store.transfer.publish import publish
from model_store.transfer.pull import check_remote, pull, pull_to_folder
from model_store.trust.signing import MAX_SIGNATURE_BYTES, Signer, Trust
from tests.model_store.conftest import Store
from tests.model_store.samples import FILES, WatchedRemote, contents, parts, visible


@dataclass(frozen=True)
class Owner:
    """Somebody who signs, and how others know that it was them."""

    signer: Signer
    trust: Trust


def make_owner(folder: Path, name: str) -> Owner:
    key = ec.generate_private_key(ec.SECP256R1())
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    public.write_bytes(
        key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return Owner(Signer.from_file(private), Trust.from_file(public))


@pytest.fixture
def owner(tmp_path: Path) -> Owner:
    return make_owner(tmp_path, "owner")


@pytest.fixture
def stranger(tmp_path: Path) -> Owner:
    return make_owner(tmp_path, "stranger")


def test_what_is_signed_is_pulled_with_its_signature(
    store: Store, small: Path, cache: Cache, owner: Owner, tmp_path: Path
) -> None:
    publish(small, store.open(), "xception", signer=owner.signer)
    remote = store.open()
    resolved = resolve(remote, "xception", 1)
    signature = remote.get("xception/1/model.sig", 10**6)
    model = pull(remote, resolved, cache, trust=owner.trust)
    assert contents(model.root) == {**contents(small), "model.sig": signature}
    assert cache.verified(resolved, trust=owner.trust).files == set(FILES)
    assert pull(Remote.open("file:///no/such/store"), resolved, cache, trust=owner.trust).files == set(FILES)
    output = pull_to_folder(remote, resolved, tmp_path / "new", trust=owner.trust).root
    assert contents(output) == contents(model.root)
    assert check_remote(remote, resolved, trust=owner.trust) == model.manifest


@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "by another"])
def test_nothing_of_what_is_not_trusted_is_fetched(
    file_store: Store, small: Path, cache: Cache, owner: Owner, stranger: Owner, tmp_path: Path, signed: bool
) -> None:
    publish(small, file_store.open(), "xception", signer=stranger.signer if signed else None)
    remote = WatchedRemote(file_store.url)
    resolved = resolve(remote, "xception", 1)
    says = "signed with another key" if signed else "is not signed"
    for action in (
        lambda: pull(remote, resolved, cache, trust=owner.trust),
        lambda: pull_to_folder(remote, resolved, tmp_path / "out" / "new", trust=owner.trust),
        lambda: check_remote(remote, resolved, trust=owner.trust),
        lambda: fetch_version(remote, resolved, owner.trust),
    ):
        with pytest.raises(SignatureError, match=says):
            action()
    assert remote.streamed == set()
    assert visible(cache.root) == []
    assert not (tmp_path / "out").exists()


def test_a_signature_is_kept_for_whoever_has_the_key_later(
    store: Store, small: Path, cache: Cache, owner: Owner, tmp_path: Path
) -> None:
    remote = store.open()
    publish(small, remote, "xception", signer=owner.signer)
    resolved = resolve(remote, "xception", 1)
    output = pull_to_folder(remote, resolved, tmp_path / "new").root
    assert (output / "model.sig").read_bytes() == remote.get("xception/1/model.sig", 10**6)
    pull(remote, resolved, cache)
    assert cache.verified(resolved, trust=owner.trust).files == set(FILES)


def test_a_signature_that_nobody_asked_for_stops_no_pull(
    file_store: Store, small: Path, cache: Cache, tmp_path: Path
) -> None:
    class Closed(Remote):
        def get(self, path: str, limit: int) -> bytes:
            if path.endswith("model.sig"):
                raise AccessDeniedError(f"{path}: at most {limit} bytes, and not for you")
            return super().get(path, limit)

    remote = file_store.open()
    publish(small, remote, "xception")
    resolved = resolve(remote, "xception", 1)
    assert contents(pull(Closed(remote._connect, remote.url), resolved, cache).root) == contents(small)
    remote.put_overwrite("xception/1/model.sig", bytes(MAX_SIGNATURE_BYTES + 1))
    assert contents(pull_to_folder(remote, resolved, tmp_path / "new").root) == contents(small)


def test_an_entry_that_was_pulled_without_its_signature_gets_it(
    file_store: Store, small: Path, cache: Cache, owner: Owner
) -> None:
    publish(small, file_store.open(), "xception", signer=owner.signer)
    remote = WatchedRemote(file_store.url)
    resolved = resolve(remote, "xception", 1)
    model = pull(remote, resolved, cache)
    (model.root / "model.sig").unlink()  # as a release left it that fetched none without a key
    with pytest.raises(SignatureError, match="is not signed"):
        cache.verified(resolved, trust=owner.trust)
    remote.streamed.clear()
    pull(remote, resolved, cache, trust=owner.trust)
    assert remote.streamed == set()
    assert cache.verified(resolved, trust=owner.trust).files == set(FILES)
    assert parts(cache.root) == []


def test_an_entry_without_a_good_signature_is_not_taken_when_the_store_is_away(
    file_store: Store, small: Path, cache: Cache, owner: Owner, stranger: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(small, file_store.open(), "xception", signer=owner.signer)
    resolved = resolve(file_store.open(), "xception", 1)
    model = pull(file_store.open(), resolved, cache, trust=owner.trust)
    away = Remote.open("http://127.0.0.1:9", patience_s=0.5)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with pytest.raises(SignatureError, match="signed with another key"):
        cache.verified(resolved, trust=stranger.trust)
    with pytest.raises(UnavailableError):
        pull(away, resolved, cache, trust=stranger.trust)
    (model.root / "model.sig").write_bytes(b"garbage")
    with pytest.raises(SignatureError, match="cannot be read"):
        cache.verified(resolved, trust=owner.trust)
    (model.root / "model.sig").unlink()
    with pytest.raises(UnavailableError):
        pull(away, resolved, cache, trust=owner.trust)


def test_a_signature_that_was_renewed_is_fetched(
    file_store: Store, small: Path, cache: Cache, owner: Owner, stranger: Owner
) -> None:
    remote = file_store.open()
    publish(small, remote, "xception", signer=stranger.signer)
    resolved = resolve(remote, "xception", 1)
    pull(remote, resolved, cache, trust=stranger.trust)
    renewed = owner.signer.sign((small / "manifest.json").read_bytes(), "xception")
    remote.put_overwrite("xception/1/model.sig", renewed)
    pull(remote, resolved, cache, trust=owner.trust)
    assert cache.verified(resolved, trust=owner.trust)
