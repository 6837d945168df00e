"""Stores behind a plain web server: read, never written, never listed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from model_store.catalog.reference import resolve
from model_store.errors import NotFoundError, ObjectNotFoundError, StoreError, UnavailableError, UsageError
from model_store.store.remote import Remote
from model_store.transfer.cache import Cache
from model_store.transfer.publish import publish
from model_store.transfer.pull import check_remote, pull, pull_to_folder
from tests.ceph import Ceph
from tests.model_store.conftest import Store
from tests.model_store.samples import WatchedRemote, contents, kept, run_cli
from tests.model_store.web_server import serve_folder, write_certificate


@dataclass(frozen=True)
class Web:
    """A published version, and the URL at which a web server shows its store."""

    url: str
    supports_ranges: bool
    inside: Remote
    """The store itself, for writing."""


@pytest.fixture(params=["plain", "ceph"])
def web(request: pytest.FixtureRequest, tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    """A server without ranges and ETags, and one with both: the real S3 server, asked without credentials."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    if request.param == "ceph":
        ceph: Ceph = request.getfixturevalue("ceph")
        url = request.getfixturevalue("ceph_url")
        inside = Remote.open(url, publishing=True)
        publish(folder, inside, "xception", labels=["stable"])
        bucket = url.split("/")[2]
        ceph.allow(bucket, "*", ["s3:GetObject", "s3:ListBucket"])
        yield Web(f"{ceph.endpoint}/{bucket}/team/models", True, inside)
        return
    inside = Remote.open(f"file://{tmp_path / 'the store'}", publishing=True)
    publish(folder, inside, "xception", labels=["stable"])
    with serve_folder(tmp_path) as url:
        yield Web(f"{url}/the%20store/", False, inside)


@pytest.mark.parametrize("selector", ["stable", 1])
def test_pulls_a_label_and_a_number(web: Web, folder: Path, cache: Cache, tmp_path: Path, selector: str | int) -> None:
    remote = Remote.open(web.url)
    resolved = resolve(remote, "xception", selector)
    assert contents(pull(remote, resolved, cache).root) == contents(folder)
    assert contents(pull_to_folder(remote, resolved, tmp_path / "new").root) == contents(folder)
    assert check_remote(remote, resolved).architecture == "xception"


def test_asks_only_for_what_changed(web: Web) -> None:
    remote = Remote.open(web.url)
    first = remote.get_if_changed("xception/labels.json", 10_000, None)
    assert first is not None
    data, etag = first
    assert data == web.inside.get("xception/labels.json", 10_000)
    assert (etag is not None) == web.supports_ranges
    again = remote.get_if_changed("xception/labels.json", 10_000, etag)
    assert again == (None if web.supports_ranges else (data, None))
    web.inside.put_overwrite("xception/labels.json", b"other")
    changed = remote.get_if_changed("xception/labels.json", 10_000, etag)
    assert changed is not None
    assert changed[0] == b"other"
    with pytest.raises(ObjectNotFoundError):
        remote.get_if_changed("xception/none.json", 10_000, etag)


def test_a_part_is_gone_on_with_where_the_server_gives_parts(
    web: Web, folder: Path, cache: Cache, big_bytes: bytes
) -> None:
    cache.parts.mkdir(parents=True)
    (cache.parts / f"sha256-{hashlib.sha256(big_bytes).hexdigest()}").write_bytes(big_bytes[:12_000_000])
    remote = WatchedRemote(web.url)
    assert remote.supports_ranges("xception/1/saved_model.pb") == web.supports_ranges
    remote.bytes = 0
    model = pull(remote, resolve(remote, "xception"), cache, select=lambda _: ["saved_model.pb"])
    assert model.path("saved_model.pb").read_bytes() == big_bytes
    fetched = len(big_bytes) - 12_000_000 if web.supports_ranges else len(big_bytes)
    assert fetched <= remote.bytes < fetched + 10
    assert kept(cache.root) == {}


def test_is_neither_written_nor_listed(web: Web, folder: Path) -> None:
    remote = Remote.open(web.url)
    for write in (
        lambda: remote.put_create("m/a", b"x"),
        lambda: remote.put_overwrite("m/a", b"x"),
        lambda: remote.upload("m/a", iter([bytes(9_000_000)]), 9_000_000),
        lambda: remote.delete(["xception/labels.json"]),
        lambda: publish(folder, remote, "xception"),
        lambda: Remote.open(web.url, publishing=True),
    ):
        with pytest.raises(UsageError, match=r"read-only|cannot be listed"):
            write()
    for look in (remote.list_folders, lambda: remote.list_files("xception"), remote.list_all):
        with pytest.raises(UsageError, match="cannot be listed; name a version or a label"):
            look()
    assert web.inside.get_if_exists("m/a", 1) is None
    assert web.inside.get("xception/labels.json", 10_000)


def test_commands_that_need_more_say_what_to_do_instead(web: Web, folder: Path) -> None:
    listing = "needs a listing, which a web server does not give; use `show "
    for words, says in (
        (("versions", "xception"), f"`versions` {listing}xception:LABEL` or `history xception`, or the bucket"),
        (("models",), f"`models` {listing}NAME` or `history NAME`, or the bucket"),
        (("prune", "xception", "--keep", "1"), "is read-only; `prune` the bucket or folder behind it"),
        (("publish", str(folder), "--model", "xception"), "is read-only; publish to the store that"),
        (("unlabel", "xception", "stable"), "is read-only"),
    ):
        done = run_cli(*words, "--store", web.url)
        assert done.returncode == UsageError.exit_code
        assert says in done.stderr
    assert run_cli("history", "xception", "--store", web.url).returncode == 0


def test_a_version_or_label_that_is_not_there(web: Web) -> None:
    for reference in ("xception:9", "xception:canary", "other"):
        done = run_cli("show", reference, "--store", web.url)
        assert done.returncode == NotFoundError.exit_code, done.stderr
        assert done.stderr.count("\n") == 1


def test_https_with_an_authority_of_ones_own(
    file_store: Store, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(small, file_store.open(), "xception", labels=["stable"])
    certificate = write_certificate(tmp_path)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serve_folder(tmp_path / "the store", certificate) as url:
        done = run_cli("pull", "xception", "--store", url, "--output", str(tmp_path / "untrusted"))
        assert done.returncode == UnavailableError.exit_code, done.stderr
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
        done = run_cli("pull", "xception", "--store", url, "--output", str(tmp_path / "new"))
        assert done.returncode == 0, done.stderr
    assert contents(tmp_path / "new") == contents(small)


def test_a_server_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StoreError, match="check that it is up"):
        Remote.open("http://127.0.0.1:9", patience_s=1).get("m/a", 1)
