from __future__ import annotations

import io
import json
import re
import shutil
from base64 import b64encode
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from training.data import Dataset, load, split
from training.errors import DataError


def test_digits_are_the_whole_set() -> None:
    digits = load("digits")
    assert len(digits) == 1797
    assert digits.classes == tuple("0123456789")
    with Image.open(io.BytesIO(digits.images[0])) as first:
        assert (first.size, first.mode) == ((8, 8), "L")
        assert np.asarray(first).max() == 239  # 15 of 16 levels


def test_folder_and_json_lines_contain_the_same(folder: Path, json_lines: Path, few_digits: Dataset) -> None:
    for dataset in (load(str(folder)), load(str(json_lines))):
        assert dataset.classes == few_digits.classes
        assert dataset.labels.tolist() == few_digits.labels.tolist()
        assert list(dataset.images) == list(few_digits.images)


def test_split_is_stratified_seeded_and_complete() -> None:
    digits = load("digits")
    parts = split(digits, 0.2, seed=0)
    assert len(parts.train) + len(parts.held_out) == len(digits)
    for label in range(10):
        share = (parts.held_out.labels == label).sum() / (digits.labels == label).sum()
        assert share == pytest.approx(0.2, abs=0.01)
    again, other = split(digits, 0.2, seed=0), split(digits, 0.2, seed=1)
    assert again.held_out.images == parts.held_out.images
    assert other.held_out.images != parts.held_out.images


def test_each_part_has_an_example_of_a_small_class() -> None:
    dataset = Dataset("x", [b""] * 5, np.array([0, 0, 1, 1, 1]), ("a", "b"))
    parts = split(dataset, 0.01, seed=0)
    assert sorted(parts.held_out.labels.tolist()) == [0, 1]
    parts = split(dataset, 0.99, seed=0)
    assert sorted(set(parts.train.labels.tolist())) == [0, 1]


def line(label: object = "a", b64: object = b64encode(b"x").decode()) -> str:
    return json.dumps({"image": {"b64": b64}, "label": label})


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "line 1: "),
        (f"{line()}\n\n{line()}\n[]", "line 4: "),
        ('{"image": {"b64": ""}}', "line 1: 'label' is missing"),
        ('{"label": "a", "image": {}}', "line 1: 'b64' is missing"),
        (line(label=7), "line 1: 'label' must be a non-empty string"),
        (line(b64="*"), "line 1: "),
        (f"{line()}\n{line()}", "1 class; at least 2 are needed"),
        (f"{line('a')}\n{line('a')}\n{line('b')}", "class 'b' has 1 image"),
        ("", "0 class"),
    ],
)
def test_bad_json_lines_are_named(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text(text)
    with pytest.raises(DataError, match=reason):
        load(str(path))


def test_broken_images_are_counted_and_named(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for number in range(2):
            (tmp_path / name / f"{number}.png").write_bytes(b"broken")
    with pytest.raises(
        DataError,
        match=r"4 of 4 images cannot be used: [^ ]*/a/0.png cannot be decoded: no image of a known format; ",
    ):
        load(str(tmp_path)).pixels(71, 71)


def test_no_such_data() -> None:
    with pytest.raises(DataError, match="give 'digits', a folder"):
        load("/nowhere")


def test_a_broken_file_or_line_is_named(tmp_path: Path, folder: Path, json_lines: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    broken = sorted((copy / "1").iterdir())[3]
    broken.write_bytes(b"broken")
    with pytest.raises(DataError, match=f"1 of 24 images cannot be used: {re.escape(str(broken))} cannot be decoded"):
        load(str(copy)).pixels(71, 71)
    lines = json_lines.read_text().splitlines()
    (tmp_path / "broken.jsonl").write_text("\n".join([line(label="1"), "", *lines]))
    with pytest.raises(DataError, match="1 of 20 images cannot be used: line 1 cannot be decoded"):
        split(load(str(tmp_path / "broken.jsonl")), 0.2, seed=0).train.pixels(71, 71)


def test_images_of_a_folder_stay_on_disk(tmp_path: Path, folder: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    part = load(str(copy)).subset(np.array([5, 2]))
    shutil.rmtree(copy)
    with pytest.raises(DataError, match="No such file"):
        part.pixels(71, 71)


def test_a_binary_file_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "cat.jpg").write_bytes(b"\xff\xd8\xff\xe0" * 9)
    with pytest.raises(DataError, match=r"cat\.jpg, line 1: "):
        load(str(tmp_path / "cat.jpg"))


def test_a_class_name_with_two_lines_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    path.write_text("\n".join([line(label="a\nb")] * 2 + [line(label="c")] * 2))
    with pytest.raises(DataError, match="is not one line of text"):
        load(str(path))
