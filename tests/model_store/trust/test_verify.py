from __future__ import annotations

import os
from pathlib import Path

import pytest

from model_store.errors import IntegrityError, ManifestError, NotFoundError
from model_store.trust.verify import unlisted_files, verify_folder
from tests.model_store.samples import FILES, make_manifest, write_version


def test_a_good_folder(folder: Path) -> None:
    model = verify_folder(folder)
    assert model.files == set(FILES)
    assert model.path("golden/pixels.npy").read_bytes() == b"pixels"
    assert model.path(".") == folder


def test_only_verified_files_are_handed_out(small: Path) -> None:
    (small / "saved_model.pb").write_bytes(b"bad")
    model = verify_folder(small, files=["golden/pixels.npy"])
    for other in ("saved_model.pb", "manifest.json", "../secret", "/etc/passwd", ""):
        with pytest.raises(NotFoundError, match="not among the verified files"):
            model.path(other)


def test_other_bytes_of_the_same_size(small: Path) -> None:
    (small / "golden/pixels.npy").write_bytes(b"PIXELS")
    with pytest.raises(IntegrityError, match=r"golden/pixels\.npy: expected sha256 \w{64}, found \w{64}"):
        verify_folder(small)


@pytest.mark.parametrize("data", [b"pix", b"pixels and more"])
def test_another_size(small: Path, data: bytes) -> None:
    (small / "golden/pixels.npy").write_bytes(data)
    with pytest.raises(IntegrityError, match=rf"expected 6 bytes, found {len(data)}"):
        verify_folder(small)


def test_a_missing_file(small: Path) -> None:
    (small / "golden/pixels.npy").unlink()
    with pytest.raises(IntegrityError, match=r"golden/pixels\.npy: missing"):
        verify_folder(small)


def test_another_manifest_than_promised(small: Path) -> None:
    with pytest.raises(IntegrityError, match=r"manifest\.json: expected sha256:0{64}, found sha256:"):
        verify_folder(small, digest=f"sha256:{0:064x}")


@pytest.mark.parametrize("what", ["golden/pixels.npy", "golden", "manifest.json"])
def test_a_link_out_of_the_folder(small: Path, tmp_path: Path, what: str) -> None:
    outside = tmp_path / "outside"
    (small / what).rename(outside)
    (small / what).symlink_to(outside)
    with pytest.raises(IntegrityError, match="leads out of the folder"):
        verify_folder(small)


def test_a_link_inside_the_folder_is_followed(small: Path) -> None:
    (small / "golden/pixels.npy").rename(small / "golden/real.npy")
    (small / "golden/pixels.npy").symlink_to("real.npy")
    assert "golden/pixels.npy" in verify_folder(small).files


def test_a_link_to_itself(small: Path) -> None:
    (small / "golden/pixels.npy").unlink()
    (small / "golden/pixels.npy").symlink_to("pixels.npy")
    with pytest.raises(IntegrityError):
        verify_folder(small)


def test_what_is_no_regular_file(small: Path) -> None:
    (small / "golden/pixels.npy").unlink()
    os.mkfifo(small / "golden/pixels.npy")
    with pytest.raises(IntegrityError, match="not a regular file"):
        verify_folder(small)


def test_folders_that_are_no_version(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no such folder"):
        verify_folder(tmp_path / "none")
    with pytest.raises(NotFoundError, match=r"holds no manifest\.json"):
        verify_folder(tmp_path)


def test_an_unknown_format(small: Path) -> None:
    text = (small / "manifest.json").read_text().replace('"format": 1', '"format": 2')
    (small / "manifest.json").write_text(text)
    with pytest.raises(ManifestError, match="format 2; this release reads format 1 only"):
        verify_folder(small)


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../../x", "a\\b", "manifest.json", "a//b", "./a"])
def test_a_path_that_climbs_out(small: Path, path: str) -> None:
    text = (small / "manifest.json").read_text().replace("variables/empty", path.replace("\\", "\\\\"))
    (small / "manifest.json").write_text(text)
    with pytest.raises(ManifestError, match="not a plain relative path"):
        verify_folder(small)


def test_a_file_that_is_not_listed_cannot_be_asked_for(small: Path) -> None:
    with pytest.raises(NotFoundError, match="lists no file 'x'"):
        verify_folder(small, files=["x"])


def test_strays(tmp_path: Path) -> None:
    root = write_version(tmp_path / "v")
    assert unlisted_files(root, make_manifest(FILES)) == []
    (root / "golden/.DS_Store").write_bytes(b"")
    (root / "notes.txt").write_bytes(b"")
    assert unlisted_files(root, make_manifest(FILES)) == ["golden/.DS_Store", "notes.txt"]
