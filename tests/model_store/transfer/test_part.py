from __future__ import annotations

import errno
from pathlib import Path

import pytest

from model_store.errors import IntegrityError, UnavailableError
from model_store.transfer.part import Part


def write_and_fail(folder: Path, error: BaseException, data: bytes = b"abc") -> None:
    with Part(folder, "sha256-1") as part:
        part.write(data)
        raise error


def test_becomes_its_target(tmp_path: Path) -> None:
    with Part(tmp_path / "parts", "sha256-1") as part:
        part.write(b"abc")
        part.write(b"def")
        part.commit(tmp_path / "deep" / "target")
    assert (tmp_path / "deep" / "target").read_bytes() == b"abcdef"
    assert list((tmp_path / "parts").iterdir()) == []


@pytest.mark.parametrize("error", [UnavailableError("gone"), KeyboardInterrupt()])
def test_stays_when_the_transfer_broke_off(tmp_path: Path, error: BaseException) -> None:
    with pytest.raises(type(error)):
        write_and_fail(tmp_path, error)
    with Part(tmp_path, "sha256-1") as part:
        assert part.size == 3
        assert b"".join(part.blocks()) == b"abc"
        part.write(b"d")
        part.commit(tmp_path / "target")
    assert (tmp_path / "target").read_bytes() == b"abcd"


@pytest.mark.parametrize("error", [IntegrityError("wrong"), OSError(errno.ENOSPC, "full")])
def test_goes_when_it_is_wrong_or_the_disk_refused(tmp_path: Path, error: Exception) -> None:
    with pytest.raises(type(error)):
        write_and_fail(tmp_path, error)
    assert list(tmp_path.iterdir()) == []


def test_goes_when_nothing_came(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError):
        write_and_fail(tmp_path, UnavailableError("gone"), b"")
    assert list(tmp_path.iterdir()) == []


def test_begins_anew(tmp_path: Path) -> None:
    (tmp_path / "sha256-1").write_bytes(b"wrong and long")
    with Part(tmp_path, "sha256-1") as part:
        part.restart()
        assert part.size == 0
        part.write(b"right")
        part.commit(tmp_path / "target")
    assert (tmp_path / "target").read_bytes() == b"right"


def test_two_at_once_have_a_file_each(tmp_path: Path) -> None:
    with Part(tmp_path, "sha256-1") as first, Part(tmp_path, "sha256-1") as second:
        first.write(b"first")
        second.write(b"second")
        second.commit(tmp_path / "two")
        first.commit(tmp_path / "one")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"one": b"first", "two": b"second"}


def test_what_was_moved_away_is_not_written_to(tmp_path: Path) -> None:
    """Who waited for the lock holds a file that became somebody's target meanwhile."""
    with Part(tmp_path, "sha256-1") as first:
        first.write(b"first")
        first.commit(tmp_path / "target")
        with Part(tmp_path, "sha256-1") as second:
            second.write(b"second")
            assert (tmp_path / "target").read_bytes() == b"first"


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "outside").write_bytes(b"precious")
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "sha256-1").symlink_to(tmp_path / "outside")
    with pytest.raises(OSError, match="symbolic"), Part(tmp_path / "parts", "sha256-1"):
        pass
    assert (tmp_path / "outside").read_bytes() == b"precious"
