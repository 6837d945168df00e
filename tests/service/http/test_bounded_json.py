"""What a document in JSON may unfold to, and that honest ones are far from it."""

from __future__ import annotations

import pytest

from service.core.errors import PayloadTooLargeError
from service.http.bounded_json import MAX_STRINGS, MAX_VALUES, parse_json

MIB = 2**20


def document(piece: bytes, times: int) -> bytes:
    return b"[" + piece * times + b"{}]"


@pytest.mark.parametrize("piece", [b"[[]],", b"[],", b"{},", b"[{}],", b"0,", b"9.5,", b"null,", b" [\n[ ] ] ,"])
def test_many_values_are_refused_before_they_are_made(piece: bytes) -> None:
    each = sum(map(piece.count, (b"[", b"{", b",")))
    times = (MAX_VALUES - 2) // each
    with pytest.raises(PayloadTooLargeError, match=rf"the JSON has \d+ numbers, lists .* the limit is {MAX_VALUES} "):
        parse_json(document(piece, times + 1))
    assert len(parse_json(memoryview(document(piece, times)))) == times + 1


@pytest.mark.parametrize("piece", [b'{"":{}},', b'{"key":0},', b'"texts are longer",', b'{"\\"":1},"", "","",'])
def test_many_texts_are_refused_before_they_are_made(piece: bytes) -> None:
    times = MIB // len(piece) + 2 * MAX_STRINGS
    with pytest.raises(PayloadTooLargeError, match=rf"the JSON has \d+ strings and keys; the limit is {MAX_STRINGS}"):
        parse_json(document(piece, times))


def test_small_documents_may_hold_anything() -> None:
    assert len(parse_json(document(b'{"":{}},', MIB // 8 - 1))) == MIB // 8


def test_encoded_images_are_few_values_however_large() -> None:
    picture = b'{"image_bytes":{"b64":"' + b"QUJD" * (MIB // 8) + b'"}},'
    assert len(parse_json(document(picture, 60))) == 61


def test_ten_images_of_pixels_are_read() -> None:
    row = b"[" + b",".join([b"[255,128,7]"] * 299) + b"]"
    picture = b"[" + b",".join([row] * 299) + b"],"
    assert len(parse_json(b'{"instances":' + document(picture, 10) + b"}")["instances"]) == 11
