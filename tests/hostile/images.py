"""Images that are broken, lie about themselves, or are small and want much; and sound ones to make them of."""

from __future__ import annotations

import io
import random
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

SEED = 20_150

MOST_PIXELS = 1_000_000
"""The limit of the service that is asked."""

_SIDE = 24

_EVERY_BYTE = {"jpeg": 640, "gif": 800}
"""Bytes of the head of a image, each of which it is cut at; of the others `_HEAD`."""
_HEAD = 120
_CUTS_BEHIND = 40

_TAIL = 32
"""Bytes at the end that hold checksums and end marks: a image that lacks no more than these may be whole."""

_EXIF_ORIENTATION = 0x0112


@dataclass(frozen=True)
class ImageFile:
    """A file, and what may become of it."""

    name: str
    data: bytes
    harmless: bool
    """Whether it may be answered, too; the others must be refused."""


def sound_images() -> dict[str, bytes]:
    """Return small images of noise, of each kind that is taken."""
    noise = np.random.default_rng(SEED).integers(0, 256, (_SIDE, _SIDE, 4), np.uint8)
    rgba = Image.fromarray(noise)
    rgb = Image.fromarray(np.ascontiguousarray(noise[..., :3]))
    deep = Image.fromarray(noise.view(np.uint16)[..., 0].copy())
    exif = Image.Exif()
    exif[_EXIF_ORIENTATION] = 6
    frames = [rgb.rotate(90), rgb.rotate(180)]
    return {
        "jpeg": _saved(rgb, "JPEG"),
        "progressive jpeg": _saved(rgb, "JPEG", progressive=True),
        "turned jpeg": _saved(rgb, "JPEG", exif=exif),
        "cmyk jpeg": _saved(rgb.convert("CMYK"), "JPEG"),
        "png": _saved(rgb, "PNG"),
        "transparent png": _saved(rgba, "PNG"),
        "palette png": _saved(rgb.quantize(16), "PNG", transparency=0),
        "16-bit png": _saved(deep, "PNG"),
        "animated png": _saved(rgb, "PNG", save_all=True, append_images=frames),
        "gif": _saved(rgb, "GIF"),
        "animated gif": _saved(rgb, "GIF", save_all=True, append_images=frames),
        "bmp": _saved(rgb, "BMP"),
        "palette bmp": _saved(rgb.quantize(16), "BMP"),
        "webp": _saved(rgb, "WEBP"),
        "lossless webp": _saved(rgba, "WEBP", lossless=True),
        "animated webp": _saved(rgb, "WEBP", save_all=True, append_images=frames),
    }


def hostile_images() -> Iterator[ImageFile]:
    """Yield all of them, always the same."""
    sound = sound_images()
    yield from _truncated(sound)
    yield from _changed(sound)
    yield from _of_impossible_sizes(sound)
    yield from _bombs(sound)
    yield from _polyglots(sound)
    yield from of_other_formats(sound)


def _truncated(sound: dict[str, bytes]) -> Iterator[ImageFile]:
    draw = random.Random(SEED)
    for name, data in sound.items():
        whole = len(sound[name.removeprefix("animated ")])  # The first frame is all that counts.
        head = min(_EVERY_BYTE.get(name, _HEAD), len(data) - _TAIL)
        behind = draw.sample(range(head, len(data)), _CUTS_BEHIND)
        for end in [*range(head), *sorted(behind)]:
            yield ImageFile(f"{name} cut at {end}", data[:end], end > whole - _TAIL)


def _changed(sound: dict[str, bytes]) -> Iterator[ImageFile]:
    """Yield images with bytes that are others, missing, or there twice; what is left may be a image."""
    draw = random.Random(SEED + 1)
    for name, data in sound.items():
        for number in range(50):
            changed = bytearray(data)
            for _ in range(draw.randint(1, 8)):
                changed[draw.randrange(len(data))] = draw.randrange(256)
            yield ImageFile(f"{name} with other bytes {number}", bytes(changed), True)
        for number in range(12):
            begin, end = sorted(draw.sample(range(len(data)), 2))
            yield ImageFile(f"{name} with a gap {number}", data[:begin] + data[end:], True)
            yield ImageFile(f"{name} with a part twice {number}", data[:end] + data[begin:], True)
            yield ImageFile(f"{name} with zeros {number}", data[:begin] + bytes(end - begin) + data[end:], True)


def _of_impossible_sizes(sound: dict[str, bytes]) -> Iterator[ImageFile]:
    """Yield images whose head speaks of no pixels, or of far too many."""
    big = 2**31 - 1
    for width, height in [
        (0, 1),
        (1, 0),
        (0, 0),
        (2000, 2000),
        (big, big),
        (big, 1),
        (2**31, 1),
        (2**32 - 1, 2**32 - 1),
    ]:
        size = f"{width} × {height}"
        yield ImageFile(f"png {size}", png(width, height), False)
        bmp = bytearray(sound["bmp"])
        bmp[18:26] = struct.pack("<II", width, height)
        yield ImageFile(f"bmp {size}", bytes(bmp), False)
    for width, height in [(0, _SIDE), (_SIDE, 0), (0xFFFF, 0xFFFF), (65_500, 65_500), (2000, 2000)]:
        size = f"{width} × {height}"
        for name in ("jpeg", "progressive jpeg"):
            jpeg = bytearray(sound[name])
            at = max(jpeg.find(b"\xff\xc0"), jpeg.find(b"\xff\xc2"))
            jpeg[at + 5 : at + 9] = struct.pack(">HH", height, width)
            yield ImageFile(f"{name} {size}", bytes(jpeg), False)
        head = b"GIF89a" + struct.pack("<HH", width, height) + b"\x80\0\0\0\0\0\xff\xff\xff"
        yield ImageFile(f"gif {size}", head + gif_frame(width, height) + b";", False)
        yield ImageFile(
            f"gif with a frame of {size}",
            b"GIF89a\1\0\1\0\x80\0\0\0\0\0\xff\xff\xff" + gif_frame(width, height),
            0 in (width, height),
        )
    for width, height in [(2**24, 2**24), (2**24, 1), (16_384, 16_384), (2000, 2000)]:
        canvas = b"\0\0\0\0" + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
        yield ImageFile(f"webp with a canvas of {width} × {height}", _riff(b"VP8X", canvas), False)
        still = sound["webp"]
        yield ImageFile(f"webp on a canvas of {width} × {height}", _riff(b"VP8X", canvas, still[12:]), False)
    for width, height in [(1 << 14, 1 << 14), (1 << 14, 1)]:
        bits = (width - 1) | (height - 1) << 14
        yield ImageFile(
            f"lossless webp {width} × {height}",
            _riff(b"VP8L", b"\x2f" + bits.to_bytes(4, "little") + bytes(40)),
            height == 1,
        )


def _bombs(sound: dict[str, bytes]) -> Iterator[ImageFile]:
    """Yield what is small and wants much memory or time."""
    white = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(white, "PNG")
    yield ImageFile("png of 400 megapixels", white.getvalue(), False)
    most = io.BytesIO()
    Image.new("I;16", (1000, 1000)).save(most, "PNG")
    yield ImageFile("16-bit png as large as may be", most.getvalue(), True)
    zeros = zlib.compress(bytes(2**26), 9)
    yield ImageFile("png whose pixels inflate to 64 MiB", png(64, 64, pixels=zeros), True)
    yield ImageFile("png whose zTXt inflates to 64 MiB", png(1, 1, chunk(b"zTXt", b"k\0\0" + zeros)), True)
    yield ImageFile("png whose iTXt inflates to 64 MiB", png(1, 1, chunk(b"iTXt", b"k\0\1\0\0\0" + zeros)), True)
    yield ImageFile("png whose iCCP inflates to 64 MiB", png(1, 1, chunk(b"iCCP", b"p\0\0" + zeros)), True)
    text = zlib.compress(bytes(2**20 - 1), 9)
    texts = b"".join(chunk(b"zTXt", b"%d\0\0" % number + text) for number in range(200))
    yield ImageFile("png with 200 texts of 1 MiB", png(1, 1, texts), True)
    yield ImageFile("png with 60 texts of 1 MiB", png(1, 1, texts[: len(texts) // 200 * 60]), True)
    yield ImageFile("png of 80,000 empty chunks", png(1, 1, chunk(b"abCd", b"") * 80_000), False)
    yield ImageFile("png of 2^31 frames", png(1, 1, chunk(b"acTL", struct.pack(">II", 2**31 - 1, 0))), True)
    for kind, head in (("iCCP", b"p\0\0"), ("iTXt", b"k\0\1\0\0\0")):
        yield ImageFile(f"png with 900 {kind} of 1 MiB", png(1, 1, chunk(kind.encode(), head + text) * 900), False)
    yield ImageFile("png of 10,001 empty chunks", png(1, 1, chunk(b"abCd", b"") * 10_001), False)
    yield ImageFile("png of 70,000 × 1", png(70_000, 1, pixels=zlib.compress(bytes(70_001))), False)
    yield ImageFile("png of 1 × 70,000", png(1, 70_000, pixels=zlib.compress(bytes(140_000))), False)
    yield ImageFile("turned palette png as large as may be", turned_palette_png(1000, 1000), True)
    yield ImageFile("png with Exif of 65,535 tags", png(1, 1, chunk(b"eXIf", crowded_exif())), True)
    gif = b"GIF89a\1\0\1\0\x80\0\0\0\0\0\xff\xff\xff"
    yield ImageFile("gif of 20,000 frames", gif + gif_frame(1, 1) * 20_000 + b";", True)
    yield ImageFile("gif that disposes of 4 gigapixels", gif + gif_control(2) + gif_frame(65_535, 65_535), False)
    yield ImageFile("gif of 500,000 stray bytes", gif + b"\1" * 500_000 + gif_frame(1, 1), False)
    yield ImageFile(
        "gif with 400,000 blocks of comment", gif + b"!\xfe" + b"\1x" * 400_000 + b"\0" + gif_frame(1, 1), False
    )
    yield ImageFile("gif of 100,000 extensions", gif + b"!\xf9\4\0\0\0\0\0" * 100_000 + gif_frame(1, 1), True)
    frames = io.BytesIO()
    shades = [Image.new("RGB", (4, 4), (shade, shade, shade)) for shade in range(250)]
    shades[0].save(frames, "WEBP", save_all=True, append_images=shades[1:], lossless=True)
    yield ImageFile("webp of 250 frames", frames.getvalue(), True)
    large = io.BytesIO()
    Image.new("RGB", (1000, 501)).save(large, "WEBP", lossless=True)
    yield ImageFile("webp of half a megapixel and more", large.getvalue(), False)
    yield ImageFile("bmp of runs of one", run_length_bmp(1000, 1000, b"\1\0" * 400_000), True)
    yield ImageFile("bmp of empty lines", run_length_bmp(1000, 1000, b"\0\0" * 1000), True)
    yield ImageFile("jpeg of 20,000 scans", many_scans(20_000), False)
    yield ImageFile("jpeg of 100 scans", many_scans(100), True)
    jpeg = sound["jpeg"]
    piece = segment(0xE1, b"Exif\0\0M")
    yield ImageFile("jpeg of 90,000 pieces of Exif", jpeg[:2] + piece * 90_000 + jpeg[2:], False)
    yield ImageFile("jpeg with Exif behind its end mark", jpeg[:2] + b"\xff\xd9" + piece * 90_000 + jpeg[2:], False)
    yield ImageFile(
        "jpeg with Exif behind a mark without length", jpeg[:2] + b"\xff\xf0\xff\xff" + piece * 90_000, False
    )
    yield ImageFile("jpeg of 200,000 comments", jpeg[:2] + segment(0xFE, b"") * 200_000 + jpeg[2:], False)
    for name, stray in (("zeros", b"\0"), ("fill", b"\xff"), ("restarts", b"\xff\xd0"), ("beginnings", b"\xff\xd8")):
        yield ImageFile(f"jpeg with 900 kB of {name}", jpeg[:2] + stray * (900_000 // len(stray)) + jpeg[2:], False)
    tables = segment(0xDB, b"\0" + b"\1" * 64)
    yield ImageFile("jpeg of 10,000 tables", jpeg[:2] + tables * 10_000 + jpeg[2:], False)
    yield ImageFile(
        "jpeg with crowded Exif", jpeg[:2] + segment(0xE1, b"Exif\0\0" + crowded_exif()[:65_000]) + jpeg[2:], True
    )
    index = (
        b"MPF\0II*\0\x08\0\0\0\2\0"
        + struct.pack("<HHII", 0xB001, 4, 1, 2**32 - 1)
        + struct.pack("<HHII", 0xB002, 7, 16, 8)
    )
    yield ImageFile("jpeg of 2^32 images", jpeg[:2] + segment(0xE2, index) + jpeg[2:], True)
    yield ImageFile("a file of 1 MiB and a byte", sound["png"].ljust(2**20 + 1, b"\0"), False)
    yield ImageFile("a file of exactly 1 MiB", sound["png"].ljust(2**20, b"\0"), True)


def _polyglots(sound: dict[str, bytes]) -> Iterator[ImageFile]:
    """Yield images that are something else as well; in front of a image nothing may stand."""
    others = {
        "zip": b"PK\3\4" + bytes(26) + b"a.txt",
        "html": b"<html><script>alert(1)</script></html>",
        "json": b'{"instances": [{"b64": ""}]}',
        "php": b"<?php system($_GET[0]); ?>",
        "pdf": b"%PDF-1.7\n",
        "svg": b'<svg xmlns="http://www.w3.org/2000/svg" width="99999" height="99999"/>',
        "zeros": bytes(100_000),
        "elf": b"\x7fELF\2\1\1" + bytes(60),
    }
    for name, data in sound.items():
        for other, text in others.items():
            yield ImageFile(f"{name} with {other} behind it", data + text, True)
            yield ImageFile(f"{other} with {name} behind it", text + data, False)
        yield ImageFile(f"{name} twice", data + data, True)
    for other, text in others.items():
        yield ImageFile(f"png with {other} in a text", png(1, 1, chunk(b"tEXt", b"Comment\0" + text)), True)
        jpeg = sound["jpeg"]
        yield ImageFile(f"jpeg with {other} in a comment", jpeg[:2] + segment(0xFE, text[:60_000]) + jpeg[2:], True)
    marks = {
        "jpeg": b"\xff\xd8\xff\xe0",
        "png": b"\x89PNG\r\n\x1a\n",
        "gif": b"GIF89a",
        "bmp": b"BM",
        "webp": b"RIFF\0\0\0\0WEBP",
    }
    for name, data in sound.items():
        for mark, first in marks.items():
            if not data.startswith(first[:2]):
                yield ImageFile(f"{name} that begins as {mark}", first + data[len(first) :], False)


def of_other_formats(sound: dict[str, bytes]) -> Iterator[ImageFile]:
    """Yield files that Pillow, or somebody else, could read, and that are not taken here."""
    rgb = Image.open(io.BytesIO(sound["png"]))
    for kind in ("TIFF", "PPM", "ICO", "EPS", "TGA", "PCX", "SGI", "DDS"):
        yield ImageFile(f"a {kind} file", _saved(rgb, kind), False)
    for kind in ("XBM", "MSP"):
        yield ImageFile(f"a {kind} file", _saved(rgb.convert("1"), kind), False)
    marks = {
        "PDF": b"%PDF-1.7\n1 0 obj\n<</Type/Catalog>>\nendobj\ntrailer\n<</Root 1 0 R>>\n",
        "PSD": b"8BPS\0\1" + bytes(6) + b"\0\3\0\0\0\1\0\0\0\1\0\x08\0\3",
        "HEIC": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
        "AVIF": b"\0\0\0\x18ftypavif\0\0\0\0mif1avif",
        "JPEG XL": b"\xff\x0a" + bytes(30),
        "JPEG 2000": b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(40),
        "WMF": b"\xd7\xcd\xc6\x9a" + bytes(40),
        "EMF": b"\1\0\0\0" + bytes(36) + b" EMF" + bytes(80),
        "FLI": bytes(4) + b"\x11\xaf" + bytes(120),
        "FITS": b"SIMPLE  =                    T".ljust(2880),
        "MPEG": b"\0\0\1\xb3" + bytes(20),
        "QOI": b"qoif" + bytes(30),
        "SVG": b'<svg xmlns="http://www.w3.org/2000/svg"/>',
        "SVG with an entity bomb": b'<!DOCTYPE a [<!ENTITY b "bbbb">]><svg>&b;</svg>',
        "DICOM": bytes(128) + b"DICM",
        "MP4": b"\0\0\0\x18ftypisom",
        "WAV": b"RIFF\x24\0\0\0WAVEfmt ",
        "gzip": b"\x1f\x8b\x08" + bytes(20),
        "text": b"no image at all",
        "a byte": b"\xff",
        "zeros": bytes(1000),
        "SOI": b"\xff\xd8",
        "PNG's first bytes": b"\x89PNG\r\n\x1a\n",
        "GIF's first bytes": b"GIF87a",
        "BMP's first bytes": b"BM",
        "WebP's first bytes": b"RIFF\xff\xff\xff\xffWEBP",
        "EPS that runs": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc/passwd) (r) file\n",
    }
    for kind, data in marks.items():
        yield ImageFile(f"a file of {kind}", data, False)


def chunk(kind: bytes, data: bytes) -> bytes:
    """Return a chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *chunks: bytes, pixels: bytes | None = None) -> bytes:
    """Return a grey PNG of this size, as its head says, with chunks before its pixels."""
    if pixels is None:
        pixels = zlib.compress(bytes(4))
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(chunks) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def gif_frame(width: int, height: int) -> bytes:
    """Return a frame of a GIF with one pixel, whatever its size is said to be."""
    return b"," + struct.pack("<HHHH", 0, 0, width, height) + b"\0\2\2\x4c\1\0"


def gif_control(disposal: int) -> bytes:
    """Return the extension that says what becomes of a frame: 2 wipes its place."""
    return b"!\xf9\4" + bytes([disposal << 2]) + b"\0\0\0\0"


def turned_palette_png(width: int, height: int) -> bytes:
    """Return a PNG in one of 256 colours, each more or less transparent, that is to be turned by a quarter."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0))
    turned = b"MM\0*\0\0\0\x08\0\1" + struct.pack(">HHIHHI", _EXIF_ORIENTATION, 3, 1, 6, 0, 0)
    parts = [chunk(b"PLTE", bytes(768)), chunk(b"tRNS", bytes(range(256))), chunk(b"eXIf", turned)]
    pixels = chunk(b"IDAT", zlib.compress(bytes((width + 1) * height), 9))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(parts) + pixels + chunk(b"IEND", b"")


def segment(marker: int, data: bytes) -> bytes:
    """Return a segment of a JPEG."""
    return bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data


def many_scans(number: int) -> bytes:
    """Return a progressive JPEG of 1000 × 1000, with scans of 12 bytes that pass over all of it and change nothing."""
    blocks = 125 * 125
    one_code = b"\1" + bytes(15)
    first = bytes(blocks // 8) + b"\x7f"  # A zero for each block, in one bit.
    run = blocks - 2**13  # «Nothing in 2^13 + so many blocks»: one code of one bit, and 13 bits.
    scan = segment(0xDA, b"\1\1\0\1\x3f\0") + (run << 2 | 3).to_bytes(2, "big")
    return b"".join(
        [
            b"\xff\xd8",
            segment(0xDB, b"\0" + b"\1" * 64),
            segment(0xC2, b"\x08" + struct.pack(">HH", 1000, 1000) + b"\1\1\x11\0"),
            segment(0xC4, b"\0" + one_code + b"\0"),
            segment(0xC4, b"\x10" + one_code + b"\xd0"),
            segment(0xDA, b"\1\1\0\0\0\0") + first,
            scan * number,
            b"\xff\xd9",
        ]
    )


def crowded_exif() -> bytes:
    """Return Exif in which every one of 65,535 tags claims all of it."""
    size = 8 + 2 + 65_535 * 12
    tags = b"".join(struct.pack("<HHII", tag, 7, size, 0) for tag in range(65_535))
    return b"II*\0\x08\0\0\0" + struct.pack("<H", 65_535) + tags


def run_length_bmp(width: int, height: int, runs: bytes) -> bytes:
    """Return a BMP of 256 colours that is compressed in runs."""
    begin = 14 + 40 + 1024
    head = b"BM" + struct.pack("<IHHI", begin + len(runs), 0, 0, begin)
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(runs), 0, 0, 256, 0)
    return head + info + bytes(1024) + runs


def _riff(kind: bytes, data: bytes, behind: bytes = b"") -> bytes:
    body = b"WEBP" + kind + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2) + behind
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _saved(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()
