"""Who may do what on a real S3 server, and what they are told."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from model_store.catalog.reference import resolve
from model_store.errors import AccessDeniedError, NotFoundError
from model_store.store.remote import Remote
from model_store.transfer.cache import Cache
from model_store.transfer.publish import publish
from model_store.transfer.pull import pull
from tests.ceph import Ceph, User
from tests.model_store.samples import contents, run_cli

READ = ["s3:GetObject", "s3:ListBucket"]


@pytest.fixture
def published(ceph_url: str, small: Path) -> str:
    publish(small, Remote.open(ceph_url, publishing=True), "xception", labels=["stable"])
    return ceph_url


@pytest.fixture(scope="session")
def reader(ceph: Ceph) -> User:
    return ceph.add_user("reader")


def become(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", user.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", user.secret_key)


@pytest.mark.parametrize("variable", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_wrong_credentials(
    published: str, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, os.environ[variable] + "x")
    for words in (
        ["pull", "xception", "--cache", str(tmp_path / "cache")],
        ["versions", "xception"],
        ["publish", str(small), "--model", "xception"],
    ):
        done = run_cli(*words, "--store", published, "--quiet")
        assert done.returncode == 6
        assert "access denied" in done.stderr
        assert "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY" in done.stderr
        assert done.stderr.count("\n") == 1


def test_who_has_no_rights_may_not_read(published: str, reader: User, monkeypatch: pytest.MonkeyPatch) -> None:
    become(reader, monkeypatch)
    with pytest.raises(AccessDeniedError, match="s3:GetObject and s3:ListBucket"):
        resolve(Remote.open(published), "xception")


def test_who_may_only_read_can_pull_and_not_publish(
    ceph: Ceph, published: str, reader: User, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ceph.allow(published.split("/")[2], reader.name, READ)
    become(reader, monkeypatch)
    done = run_cli("pull", "xception", "--store", published, "--cache", str(tmp_path / "cache"), "--json")
    assert done.returncode == 0, done.stderr
    assert contents(Path(json.loads(done.stdout)["path"])) == contents(small)
    for words in (["publish", str(small), "--model", "xception"], ["label", "xception", "canary", "1"]):
        done = run_cli(*words, "--store", published)
        assert done.returncode == 6
        assert "to publish also s3:PutObject" in done.stderr
    assert run_cli("versions", "xception", "--store", published).stdout.count("\n") == 2


def test_who_may_not_list_can_pull_a_label(
    ceph: Ceph, published: str, reader: User, small: Path, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    ceph.allow(published.split("/")[2], reader.name, ["s3:GetObject"])
    become(reader, monkeypatch)
    remote = Remote.open(published)
    assert contents(pull(remote, resolve(remote, "xception"), cache).root) == contents(small)
    with pytest.raises(AccessDeniedError):
        remote.list_folders("xception")


def test_a_missing_bucket(ceph_url: str, small: Path) -> None:
    for words in (["pull", "xception"], ["publish", str(small), "--model", "xception"], ["versions", "xception"]):
        done = run_cli(*words, "--store", "s3://no-such-bucket/models")
        assert done.returncode == NotFoundError.exit_code
        assert "the bucket 'no-such-bucket' does not exist" in done.stderr
