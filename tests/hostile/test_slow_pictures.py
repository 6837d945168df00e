"""Pictures that are small and take long: refused where that can be seen, and else given up at the deadline."""

from __future__ import annotations

import pytest

from model_store.manifest import InputContract
from service.admission import Admission, Deadline
from service.decode import Decoder, ImageLimits, decode_image
from service.errors import DeadlineExceededError, InvalidImageError

from .images import many_scans, run_length_bmp, segment, sound_pictures

CONTRACT = InputContract(height=71, width=71)
LIMITS = ImageLimits(2**24, 2_000_000)
EXIF = segment(0xE1, b"Exif\0\0M")


@pytest.mark.parametrize("kind", ["jpeg", "progressive jpeg"])
def test_scans_and_exif_of_a_jpeg_are_limited(kind: str) -> None:
    jpeg = sound_pictures()[kind]
    for slow in (
        many_scans(300),
        jpeg[:2] + EXIF * 1001 + jpeg[2:],
        b"\xff\xd8\xff\xd9\xff\xd8" + EXIF * 1001 + jpeg[2:],
    ):
        with pytest.raises(InvalidImageError, match=r"more scans or segments of Exif .* the limits are 200 and 1000"):
            decode_image(slow, CONTRACT, LIMITS)
    assert decode_image(many_scans(150), CONTRACT, LIMITS).shape == (71, 71, 3)


def test_a_jpeg_whose_first_scan_is_whole_can_have_no_other() -> None:
    jpeg = sound_pictures()["jpeg"]
    scan = jpeg[jpeg.find(b"\xff\xda") : -2]
    with pytest.raises(InvalidImageError, match="broken data stream"):  # Why they are not counted there.
        decode_image(jpeg[:-2] + scan * 300 + b"\xff\xd9", CONTRACT, LIMITS)


@pytest.mark.parametrize("kind", ["jpeg", "progressive jpeg"])
def test_what_follows_a_jpeg_or_stands_in_a_segment_does_not_count(kind: str) -> None:
    jpeg = sound_pictures()[kind]
    pixels = decode_image(jpeg, CONTRACT, LIMITS)
    film = b"\xff\xda\xff\xe1" * 10_000
    assert (decode_image(jpeg + film, CONTRACT, LIMITS) == pixels).all()
    assert (decode_image(jpeg[:2] + segment(0xE2, film) + jpeg[2:], CONTRACT, LIMITS) == pixels).all()


async def test_nobody_waits_for_a_picture_beyond_the_deadline() -> None:
    slow = run_length_bmp(2000, 1000, b"\1\0" * 2_000_000)
    admission, decoder = Admission(2, 2**30), Decoder(2, LIMITS)
    decoder.start()
    with admission.admit(Deadline(0.1)) as permit:
        with pytest.raises(DeadlineExceededError, match="the deadline of 100 ms has passed"):
            await decoder.decode([slow], CONTRACT, permit)
        permit.deadline = Deadline(60)
        assert (await decoder.decode([sound_pictures()["png"]], CONTRACT, permit)).shape == (1, 71, 71, 3)
    await decoder.stop()
