from __future__ import annotations

import json
import threading
from datetime import timedelta
from pathlib import Path

import pytest

from model_store.catalog.author import author
from model_store.catalog.labels import read_labels
from model_store.catalog.prune import LEFTOVER_AGE
from model_store.catalog.reference import resolve
from model_store.catalog.versions import list_versions
from model_store.errors import ConflictError, IntegrityError, NotFoundError, StoreError, UsageError
from model_store.store.remote import Remote
from model_store.transfer import publish as publish_module
from model_store.transfer.publish import TIME_LIMIT_S, Published, publish
from model_store.transfer.pull import check_remote
from tests.model_store.conftest import Store
from tests.model_store.samples import FILES, start_python, write_version

KILLED_UPLOAD = """
    import sys, time
    from pathlib import Path
    from model_store.transfer.publish import publish
    from model_store.store.remote import Remote

    class Slow(Remote):
        def upload(self, path, blocks, size):
            def held():
                for number, block in enumerate(blocks):
                    yield block
                    if number == 10:
                        print("in the middle", flush=True)
                        time.sleep(60)
            super().upload(path, held(), size)

    inner = Remote.open(sys.argv[1], publishing=True)
    publish(Path(sys.argv[2]), Slow(inner._connect, inner.url), "xception", labels=["stable"])
"""


def test_round_trip(store: Store, folder: Path) -> None:
    remote = store.open()
    done = publish(folder, remote, "xception", labels=["stable", "canary"])
    assert (done.model, done.version, done.labels) == ("xception", 1, ("stable", "canary"))
    assert remote.get("xception/1/manifest.json", 10**6) == (folder / "manifest.json").read_bytes()
    for name in FILES:
        assert b"".join(remote.stream(f"xception/1/{name}")) == (folder / name).read_bytes()
    record = read_labels(remote, "xception")
    assert record is not None
    assert record.sequence == 1
    assert record.labels["canary"].manifest == done.digest
    assert check_remote(remote, resolve(remote, "xception", "canary"))


def test_the_next_one_takes_the_next_number(store: Store, small: Path) -> None:
    remote = store.open()
    assert [publish(small, remote, "xception").version for _ in range(3)] == [1, 2, 3]
    assert read_labels(remote, "xception") is None
    remote.put_create("xception/claims/000009.json", b"{}")
    remote.put_create("xception/11/unfinished", b"")
    assert publish(small, remote, "xception").version == 12


def test_the_same_again_is_told(store: Store, small: Path, tmp_path: Path) -> None:
    remote = store.open()
    other = write_version(tmp_path / "other", {"saved_model.pb": b"other"})
    told = [publish(folder, remote, "xception").same_as for folder in (small, small, other, small, other)]
    assert told == [None, 1, None, 2, 3]
    remote.delete(["xception/5/manifest.json"])
    remote.put_overwrite("xception/claims/000006.json", b"[no claim]")
    assert publish(other, remote, "xception").same_as is None  # the third is too long ago, and the fifth is gone
    assert publish(other, remote, "xception").same_as == 7


def test_the_claim_says_who(file_store: Store, small: Path) -> None:
    remote = file_store.open()
    done = publish(small, remote, "xception")
    claim = json.loads(remote.get("xception/claims/000001.json", 1000))
    assert claim["manifest"] == done.digest
    assert claim["publisher"]


def test_publishers_at_once_never_share_a_number(store: Store, tmp_path: Path) -> None:
    folders = [write_version(tmp_path / f"v{n}", {"saved_model.pb": bytes([n]) * 100_000}) for n in range(4)]
    done: list[Published] = []

    def run(folder: Path) -> None:
        done.append(publish(folder, store.open(), "xception", labels=[f"from-{folder.name}"]))

    threads = [threading.Thread(target=run, args=(folder,)) for folder in folders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    remote = store.open()
    assert sorted(published.version for published in done) == [1, 2, 3, 4]
    for published in done:
        resolved = resolve(remote, "xception", published.version)
        assert resolved.manifest_digest == published.digest
        check_remote(remote, resolved)
    record = read_labels(remote, "xception")
    assert record is not None
    assert len(record.labels) == 4


def test_processes_at_once_never_share_a_number(store: Store, tmp_path: Path, big_bytes: bytes) -> None:
    folders = [
        write_version(tmp_path / f"v{n}", {"saved_model.pb": bytes([n]) + big_bytes[: 9 * 2**20]}) for n in (1, 2)
    ]
    code = "import sys; from model_store.cli.app import main; sys.exit(main(sys.argv[1:]))"
    running = [
        start_python(code, "publish", str(folder), "--store", store.url, "--model", "xception", "--json")
        for folder in folders
    ]
    answers = [process.communicate(timeout=60) for process in running]
    assert [process.returncode for process in running] == [0, 0], answers
    assert sorted(json.loads(out)["version"] for out, _ in answers) == [1, 2]
    remote = store.open()
    for out, _ in answers:
        published = json.loads(out)
        resolved = resolve(remote, "xception", published["version"])
        assert resolved.manifest_digest == published["digest"]
        check_remote(remote, resolved)


def test_a_killed_publish_leaves_no_version(store: Store, folder: Path) -> None:
    process = start_python(KILLED_UPLOAD, store.url, str(folder))
    assert process.stdout is not None
    assert process.stdout.readline() == "in the middle\n"
    process.kill()
    process.communicate()
    remote = store.open()
    assert list_versions(remote, "xception") == []
    assert read_labels(remote, "xception") is None
    with pytest.raises(NotFoundError):
        resolve(remote, "xception", 1)
    assert publish(folder, remote, "xception", labels=["stable"]).version == 2
    check_remote(remote, resolve(remote, "xception"))


def test_strays_are_named(file_store: Store, small: Path) -> None:
    (small / "notes.txt").write_bytes(b"")
    with pytest.raises(UsageError, match=r"does not list: notes\.txt;"):
        publish(small, file_store.open(), "xception")
    assert file_store.open().list_folders() == []


def test_a_folder_that_does_not_match_is_not_published(file_store: Store, small: Path) -> None:
    (small / "golden/pixels.npy").write_bytes(b"PIXELS")
    with pytest.raises(IntegrityError, match=r"golden/pixels\.npy"):
        publish(small, file_store.open(), "xception")
    assert file_store.open().list_folders() == []


def test_a_file_that_changes_during_the_upload_is_noticed(store: Store, folder: Path) -> None:
    class Meddling(Remote):
        def put_create(self, path: str, data: bytes) -> None:
            super().put_create(path, data)
            if "/claims/" in path:  # after the check, before the upload
                with (folder / "saved_model.pb").open("r+b") as file:
                    file.write(b"other bytes")

    inner = store.open()
    with pytest.raises(IntegrityError, match="changed while it was published"):
        publish(folder, Meddling(inner._connect, inner.url), "xception")
    assert list_versions(store.open(), "xception") == []


def test_claims_end_somewhere(file_store: Store, small: Path) -> None:
    class Contended(Remote):
        def put_create(self, path: str, data: bytes) -> None:
            raise ConflictError(f"{path}: not these {len(data)} bytes")

    inner = file_store.open()
    with pytest.raises(ConflictError, match="50 numbers in a row"):
        publish(small, Contended(inner._connect, inner.url), "xception")


def test_a_label_that_could_not_be_set_is_told_with_the_version(file_store: Store, small: Path) -> None:
    class NoLabels(Remote):
        def put_create(self, path: str, data: bytes) -> None:
            if "/labels/" in path:
                raise StoreError("labels are closed")
            super().put_create(path, data)

    inner = file_store.open()
    with pytest.raises(
        StoreError,
        match=r"xception:1 is published, but not labelled stable: labels are closed; .*label xception stable 1",
    ):
        publish(small, NoLabels(inner._connect, inner.url), "xception", labels=["stable"])
    assert resolve(inner, "xception", 1)


@pytest.mark.parametrize(("model", "label"), [("a/b", "stable"), ("x", "7")])
def test_names_are_checked_first(file_store: Store, small: Path, model: str, label: str) -> None:
    with pytest.raises(UsageError):
        publish(small, file_store.open(), model, labels=[label])
    assert file_store.open().list_folders() == []


def test_the_note_stands_with_the_labels(store: Store, small: Path) -> None:
    publish(small, store.open(), "xception", labels=["stable"], note="retrained")
    record = read_labels(store.open(), "xception")
    assert record is not None
    assert (record.action, record.note, record.by) == ("publish", "retrained", author())
    with pytest.raises(UsageError, match="a note is one line"):
        publish(small, store.open(), "xception", labels=["stable"], note="two\nlines")
    assert len(list_versions(store.open(), "xception")) == 1


def test_one_that_takes_longer_than_prune_waits_gives_up(
    file_store: Store, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publish_module, "TIME_LIMIT_S", -1.0)
    with pytest.raises(ConflictError, match="may have been taken for those of an interrupted publish"):
        publish(small, file_store.open(), "xception")
    assert list_versions(file_store.open(), "xception") == []


def test_prune_waits_longer_than_a_publish_may_take() -> None:
    assert timedelta(seconds=TIME_LIMIT_S) < LEFTOVER_AGE
