"""Tensors in JSON: what is read, and which value is named where one does not fit."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest

from service.protocols.tensors import TensorError, decode_base64, flatten, format_path, read_levels


@pytest.mark.parametrize("data", [b"", b"a", b"ab", b"abc", bytes(range(256))])
def test_base64_is_decoded(data: bytes) -> None:
    assert decode_base64(b64encode(data)) == decode_base64(b64encode(data).decode()) == data


@pytest.mark.parametrize("text", ["a", "YQ", "YQ=", "YQ==\n", "Y Q==", "YQ==YQ==", "Y*==", "ä", "_w=="])
def test_invalid_base64_is_rejected(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # The text is pybase64's.
        decode_base64(text)


def test_nested_lists_are_flattened_in_order() -> None:
    assert flatten([[1, 2, 3], [4, 5, 6]], (2, 3)) == [1, 2, 3, 4, 5, 6]
    assert flatten("one", ()) == ["one"]
    assert read_levels([[0, 255], [7, 1]], (2, 2)) == bytes([0, 255, 7, 1])


@pytest.mark.parametrize(
    ("value", "path", "sizes"),
    [
        ([[1, 2]], "", (2, 2)),
        (7, "", (2, 2)),
        ([[1, 2], [3]], "[1]", (2,)),
        ([[1, 2], None], "[1]", (2,)),
        ([[1, 2], [3, 256]], "[1][1]", ()),
        ([[1, -1], [3, 4]], "[0][1]", ()),
        ([[1, True], [3, 4.0]], "[0][1]", ()),
        ([[1, 300], [3, "4"]], "[0][1]", ()),
        ([[1, [2]], [3, 4]], "[0][1]", ()),
    ],
)
def test_the_first_value_that_does_not_fit_is_named(value: Any, path: str, sizes: tuple[int, ...]) -> None:
    with pytest.raises(TensorError) as error:
        read_levels(value, (2, 2))
    assert (error.value.path, error.value.sizes) == (path, sizes)


def test_paths_are_row_major_indices() -> None:
    assert [format_path(index, (2, 3)) for index in (0, 2, 3)] == ["[0][0]", "[0][2]", "[1][0]"]
    assert format_path(0, ()) == ""
