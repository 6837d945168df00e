from __future__ import annotations

import socket
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from model_store.errors import (
    AccessDeniedError,
    ConflictError,
    IntegrityError,
    NotFoundError,
    ObjectNotFoundError,
    StoreError,
    UnavailableError,
    UsageError,
)
from model_store.store.remote import Remote
from model_store.workers import for_each
from tests.model_store.conftest import Store


def test_an_object_is_written_once(store: Store) -> None:
    remote = store.open()
    remote.put_create("m/a.json", b"one")
    with pytest.raises(ConflictError, match="another writer was first"):
        remote.put_create("m/a.json", b"two")
    assert remote.get("m/a.json", 10) == b"one"


def test_writing_the_same_bytes_again_counts_as_written(store: Store) -> None:
    remote = store.open()
    remote.put_create("m/a.json", b"one")
    remote.put_create("m/a.json", b"one")


def test_overwrite_replaces(store: Store) -> None:
    remote = store.open()
    remote.put_overwrite("m/a.json", b"one")
    remote.put_overwrite("m/a.json", b"two")
    assert remote.get("m/a.json", 10) == b"two"


@pytest.mark.parametrize("data", [b"", b"on", b"one and more"])
def test_other_bytes_of_any_length_are_a_conflict(store: Store, data: bytes) -> None:
    remote = store.open()
    remote.put_create("m/a.json", b"one")
    with pytest.raises(ConflictError, match="another writer was first"):
        remote.put_create("m/a.json", data)


def test_of_many_creators_at_once_one_wins(store: Store) -> None:
    won: list[int] = []

    def create(number: int) -> None:
        try:
            store.open().put_create("m/x.json", f"writer {number}".encode())
            won.append(number)
        except ConflictError:
            pass

    store.open()
    threads = [threading.Thread(target=create, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert store.open().get("m/x.json", 100) == f"writer {won[0]}".encode()


def test_large_objects_go_in_parts_and_come_back_in_blocks(store: Store, big_bytes: bytes) -> None:
    remote = store.open()
    step = 3_000_000
    blocks = (big_bytes[at : at + step] for at in range(0, len(big_bytes), step))
    remote.upload("m/1/big é.bin", blocks, len(big_bytes))
    streamed = list(remote.stream("m/1/big é.bin"))
    assert len(streamed) > 1
    assert b"".join(streamed) == big_bytes


def test_an_upload_whose_source_fails_leaves_no_object(store: Store) -> None:
    remote = store.open()
    remote.put_overwrite("m/other", b"")

    def blocks():
        yield bytes(9_000_000)
        raise KeyError("the source failed")

    with pytest.raises(KeyError, match="the source failed"):
        remote.upload("m/big", blocks(), 20_000_000)
    assert remote.get_if_exists("m/big", 1) is None


def test_lists_names_right_below(store: Store) -> None:
    remote = store.open()
    for path in ("m/1/a/b", "m/1/c", "m/2/d", "m/labels.json", "n/1/e"):
        remote.put_overwrite(path, b"x")
    assert remote.list_folders() == ["m", "n"]
    assert remote.list_folders("m") == ["1", "2"]
    assert remote.list_files("m") == ["labels.json"]
    assert remote.list_files("none") == remote.list_folders("none") == []


def test_lists_all_below_a_prefix(store: Store) -> None:
    remote = store.open()
    for path in ("m/1/a/b", "m/1/c", "m/labels.json", "mm/1/c"):
        remote.put_overwrite(path, path.encode())
    found = remote.list_all("m/")
    assert [(path, size) for path, size, _ in found] == [("m/1/a/b", 7), ("m/1/c", 5), ("m/labels.json", 13)]
    assert all(abs(datetime.now(UTC) - written) < timedelta(minutes=5) for _, _, written in found)
    assert len(remote.list_all()) == 4
    assert remote.list_all("none") == []


def test_lists_more_than_one_answer_holds(ceph_url: str) -> None:
    remote = Remote.open(ceph_url)
    for_each(range(1050), lambda number, _: remote.put_overwrite(f"m/{number:04}", b""), threads=8)
    assert [path for path, _, _ in remote.list_all("m")] == [f"m/{number:04}" for number in range(1050)]
    assert len(remote.list_files("m")) == 1050
    remote.delete([f"m/{number:04}" for number in range(1050)])
    assert remote.list_all() == []


def test_deletes_what_is_there(store: Store) -> None:
    remote = store.open()
    for path in ("m/a", "m/b", "m/c é"):
        remote.put_overwrite(path, b"x")
    remote.delete([])
    remote.delete(["m/a", "m/none", "m/c é"])
    remote.delete(["m/none"])
    assert remote.list_files("m") == ["b"]


def test_asks_only_for_what_changed(store: Store) -> None:
    remote = store.open()
    remote.put_overwrite("m/a", b"one")
    first = remote.get_if_changed("m/a", 10, None)
    assert first is not None
    data, etag = first
    assert data == b"one"
    assert etag is not None
    assert remote.get_if_changed("m/a", 10, etag) is None
    remote.put_overwrite("m/a", b"other")
    second = remote.get_if_changed("m/a", 10, etag)
    assert second is not None
    assert second[0] == b"other"
    assert second[1] != etag
    with pytest.raises(IntegrityError, match="5 bytes; at most 4"):
        remote.get_if_changed("m/a", 4, etag)
    with pytest.raises(ObjectNotFoundError):
        remote.get_if_changed("m/b", 10, etag)


def test_parts_of_an_object(store: Store) -> None:
    remote = store.open()
    remote.put_overwrite("m/a", b"0123456789")
    for start, end, expected in ((0, 4, b"0123"), (4, 7, b"456"), (7, None, b"789"), (7, 99, b"789")):
        stream = remote.stream("m/a", start, end)
        assert stream.size == 10
        assert b"".join(stream) == expected
    assert remote.stream("m/a").etag == remote.stream("m/a", 3, 4).etag
    with pytest.raises(StoreError):
        remote.stream("m/a", 20, 30)


def test_missing_objects_and_limits(store: Store) -> None:
    remote = store.open()
    remote.put_overwrite("m/a", b"12345")
    assert remote.get_if_exists("m/b", 10) is None
    with pytest.raises(NotFoundError, match="m/b: not found"):
        remote.get("m/b", 10)
    with pytest.raises(NotFoundError, match="m/b: not found"):
        list(remote.stream("m/b"))
    with pytest.raises(IntegrityError, match="5 bytes; at most 4"):
        remote.get("m/a", 4)


def test_a_path_that_climbs_out_is_refused(store: Store) -> None:
    remote = store.open()
    with pytest.raises(UsageError):
        remote.put_overwrite("m/../../x", b"x")


def test_a_folder_that_does_not_exist_is_not_made_by_reading(tmp_path: Path) -> None:
    remote = Remote.open(f"file://{tmp_path}/none")
    with pytest.raises(NotFoundError, match="no such folder"):
        remote.get_if_exists("m/a", 1)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("action", ["get", "list", "create", "upload", "stream"])
def test_a_missing_bucket_is_named(s3_url: str, action: str) -> None:
    remote = Remote.open("s3://no-such-bucket/models")
    calls = {
        "get": lambda: remote.get_if_exists("m/a", 1),
        "list": lambda: remote.list_folders("m"),
        "create": lambda: remote.put_create("m/a", b"x"),
        "upload": lambda: remote.upload("m/a", iter([bytes(9_000_000)]), 9_000_000),
        "stream": lambda: list(remote.stream("m/a")),
    }
    with pytest.raises(NotFoundError, match="bucket 'no-such-bucket' does not exist") as caught:
        calls[action]()
    assert "Debug source" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_refused_credentials(fake_s3, monkeypatch: pytest.MonkeyPatch) -> None:
    body = b"<Error><Code>SignatureDoesNotMatch</Code><Message>The signature differs</Message></Error>"
    fake_s3(b"HTTP/1.1 403 Forbidden\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
    with pytest.raises(AccessDeniedError, match=r"The signature differs.*AWS_SECRET_ACCESS_KEY"):
        Remote.open("s3://bucket-a").get("m/a", 1)


def test_a_failing_server_is_unavailable_in_time(fake_s3) -> None:
    fake_s3(b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\n\r\n")
    start = time.monotonic()
    with pytest.raises(UnavailableError, match="503"):
        Remote.open("s3://bucket-a", patience_s=2).get("m/a", 1)
    assert time.monotonic() - start < 4


def test_a_server_that_never_answers_is_unavailable_in_time(fake_s3) -> None:
    fake_s3(None)
    start = time.monotonic()
    with pytest.raises(UnavailableError, match="try again"):
        Remote.open("s3://bucket-a", patience_s=2).get("m/a", 1)
    assert time.monotonic() - start < 4


def test_a_closed_port_is_unavailable_within_the_default_patience(s3_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    start = time.monotonic()
    with pytest.raises(UnavailableError, match="check that it is up") as caught:
        Remote.open(s3_url).list_folders()
    assert time.monotonic() - start < 15
    assert "Debug source" not in str(caught.value)


def test_an_endpoint_that_is_no_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "localhost:9000")
    with pytest.raises(UsageError, match="AWS_ENDPOINT_URL='localhost:9000'"):
        Remote.open("s3://bucket")


def test_the_service_specific_endpoint_goes_first(s3_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", os.environ["AWS_ENDPOINT_URL"])
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    assert Remote.open(s3_url).list_folders() == []


def test_store_errors_are_all_that_leaves(file_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    remote = file_store.open()

    class Broken:
        def get(self, path: str) -> None:
            raise RuntimeError(f"{path}: something new")

    monkeypatch.setattr(remote, "_connected", Broken)
    with pytest.raises(StoreError, match="something new"):
        remote.get("m/a", 1)


@pytest.fixture
def fake_s3(monkeypatch: pytest.MonkeyPatch):
    """A server that gives the same answer to everything, or none at all."""
    listener = socket.create_server(("127.0.0.1", 0))
    kept: list[socket.socket] = []

    def serve(answer: bytes | None) -> None:
        def loop() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                kept.append(connection)
                if answer is not None:
                    connection.recv(65536)
                    connection.sendall(answer.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1))
                    connection.close()

        threading.Thread(target=loop, daemon=True).start()

    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{listener.getsockname()[1]}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield serve
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    for connection in kept:
        connection.close()
