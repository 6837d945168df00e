"""Images that are small and take long: refused where that can be seen, and else given up at the deadline."""

from __future__ import annotations

import io
import zlib

import pytest
from PIL import Image

from model_store.trust.manifest import InputContract
from service.core.deadline import Deadline
from service.core.errors import DeadlineExceededError, InvalidImageError
from service.images.decoder import Decoder, ImageLimits, decode_image

from .images import chunk, gif_control, gif_frame, many_scans, png, run_length_bmp, segment, sound_images

CONTRACT = InputContract(height=71, width=71)
LIMITS = ImageLimits(2**24, 2_000_000)
EXIF, COMMENT = segment(0xE1, b"Exif\0\0M"), segment(0xFE, b"")
GIF = b"GIF89a\1\0\1\0\x80\0\0\0\0\0\xff\xff\xff"


@pytest.mark.parametrize("kind", ["jpeg", "progressive jpeg"])
def test_segments_and_scans_of_a_jpeg_are_limited(kind: str) -> None:
    jpeg = sound_images()[kind]
    many = r"more segments or scans than a JPEG needs; the limits are 2000 and 200$"
    taken_apart = r"more Exif, tables or bytes between its segments .* the limits are 100 segments and 65536 bytes$"
    for slow, reason in [
        (many_scans(300), many),
        (jpeg[:2] + COMMENT * 2001 + jpeg[2:], many),
        (b"\xff\xd8" * 2001 + jpeg[2:], many),
        (jpeg[:2] + COMMENT * 2001 + b"\xff\xd9", many),
        (jpeg[:2] + EXIF * 101 + jpeg[2:], taken_apart),
        (b"\xff\xd8\xff\xd9\xff\xd8" + EXIF * 101 + jpeg[2:], taken_apart),
        (jpeg[:2] + EXIF * 101 + jpeg[2:] + b"\xff\xda" * 300, taken_apart),  # So that scans are counted to its end.
        (jpeg[:2] + segment(0xDB, b"") * 101 + jpeg[2:], taken_apart),
        (jpeg[:2] + segment(0xED, b"Photoshop 3.0\0") * 101 + jpeg[2:], taken_apart),
        (jpeg[:2] + b"\0" * 70_000 + jpeg[2:], taken_apart),
        (jpeg[:2] + b"\xff" * 70_000 + jpeg[2:], taken_apart),
        (jpeg[:2] + b"\xff\xd0" * 35_000, taken_apart),
    ]:
        with pytest.raises(InvalidImageError, match=reason):
            decode_image(slow, CONTRACT, LIMITS)
    assert decode_image(many_scans(150), CONTRACT, LIMITS).shape == (71, 71, 3)
    honest = jpeg[:2] + EXIF * 5 + COMMENT * 500 + segment(0xE2, bytes(60_000)) * 200 + b"\xff" * 100 + jpeg[2:]
    assert decode_image(honest, CONTRACT, LIMITS).shape == (71, 71, 3)


def test_chunks_of_a_png_are_limited() -> None:
    text = zlib.compress(bytes(2**20))
    for slow in (
        png(1, 1, chunk(b"abCd", b"") * 10_001),
        png(1, 1)[:-12] + chunk(b"abCd", b"") * 10_001 + chunk(b"IEND", b""),
        png(1, 1, chunk(b"iCCP", b"p\0\0" + text) * 101),
        png(1, 1, chunk(b"iTXt", b"k\0\1\0\0\0" + text) * 101),
        png(1, 1, chunk(b"zTXt", b"\0\0" + text) * 101),
    ):
        with pytest.raises(InvalidImageError, match=r"more chunks than a PNG .* 10000 in all and 100 with compressed"):
            decode_image(slow, CONTRACT, LIMITS)
    honest = png(1, 1, chunk(b"tEXt", b"k\0v") * 1000, chunk(b"iTXt", b"k\0\1\0\0\0" + text) * 10)
    behind = honest + chunk(b"abCd", b"") * 20_000
    assert (decode_image(behind, CONTRACT, LIMITS) == decode_image(png(1, 1), CONTRACT, LIMITS)).all()


def test_blocks_of_a_gif_are_limited() -> None:
    comment = b"!\xfe" + b"\1x" * 200_001 + b"\0"
    for slow in (
        GIF + comment + gif_frame(1, 1),
        GIF + b"\1" * 200_001 + gif_frame(1, 1),
        GIF + gif_control(0) * 100_001 + gif_frame(1, 1),
        # Where Pillow reads on behind an extension without a block, and behind that of Netscape:
        GIF + b"!\1\0" + b"\1," * 200_001 + b"\0" + gif_frame(1, 1),
        GIF + b"!\xff\x0bNETSCAPE2.0\0" + b"\1," * 200_001 + b"\0" + gif_frame(1, 1),
    ):
        with pytest.raises(InvalidImageError, match=r"more blocks before its first frame .* the limit is 200000"):
            decode_image(slow, CONTRACT, LIMITS)
    honest = GIF + b"!\xff\x0bNETSCAPE2.0\3\1\0\0\0" + gif_control(2) + b"!\xfe" + b"\1x" * 9000 + b"\0"
    behind = gif_frame(1, 1) + comment
    assert decode_image(honest + behind, CONTRACT, LIMITS).shape == (71, 71, 3)


def test_a_gif_makes_no_room_before_its_size_is_known() -> None:
    for frame in (gif_frame(65_535, 65_535), gif_frame(2000, 2000)):
        with pytest.raises(InvalidImageError, match="the limit is 2000000 in all"):
            decode_image(GIF + gif_control(2) + frame, CONTRACT, LIMITS)


def test_bmps_in_runs_are_smaller() -> None:
    limits = ImageLimits(2**24, 64_000_000)
    for slow in (run_length_bmp(3000, 2000, b"\1\0"), run_length_bmp(10, 10, b"\1\0" * 2_100_000)):
        with pytest.raises(InvalidImageError, match=r"run-length encoded BMP of .* the limit of each is 4194304"):
            decode_image(slow, CONTRACT, limits)
    plain = io.BytesIO()
    Image.new("L", (3000, 2000)).save(plain, "BMP")
    assert decode_image(plain.getvalue(), CONTRACT, limits).shape == (71, 71, 3)


def test_a_jpeg_whose_first_scan_is_whole_can_have_no_other() -> None:
    jpeg = sound_images()["jpeg"]
    scan = jpeg[jpeg.find(b"\xff\xda") : -2]
    with pytest.raises(InvalidImageError, match="broken data stream"):  # Why they are not counted there.
        decode_image(jpeg[:-2] + scan * 300 + b"\xff\xd9", CONTRACT, LIMITS)


@pytest.mark.parametrize("kind", ["jpeg", "progressive jpeg"])
def test_what_follows_a_jpeg_or_stands_in_a_segment_does_not_count(kind: str) -> None:
    jpeg = sound_images()[kind]
    pixels = decode_image(jpeg, CONTRACT, LIMITS)
    film = b"\xff\xda\xff\xe1" * 10_000
    assert (decode_image(jpeg + film, CONTRACT, LIMITS) == pixels).all()
    assert (decode_image(jpeg[:2] + segment(0xE2, film) + jpeg[2:], CONTRACT, LIMITS) == pixels).all()


async def test_decoding_is_abandoned_at_the_deadline() -> None:
    slow = run_length_bmp(2000, 1000, b"\1\0" * 2_000_000)
    decoder = Decoder(2, LIMITS)
    decoder.start()
    with pytest.raises(DeadlineExceededError, match="the deadline of 100 ms has passed"):
        await decoder.decode([slow], CONTRACT, Deadline(0.1))
    assert (await decoder.decode([sound_images()["png"]], CONTRACT, Deadline(60))).shape == (1, 71, 71, 3)
    await decoder.stop()
