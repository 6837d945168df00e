"""Check the structure of an image file before Pillow reads it: a few bytes can cost much time or memory.

Pillow parses in Python what precedes the pixels, and may allocate memory before the size is known. Ordinary files have
a few dozen such parts; a file of 16 MiB can have millions. Each check parses the file as Pillow does.
"""

from __future__ import annotations

import io
import re
import struct

from service.core.errors import InvalidImageError

_MAX_SIDE = 65_535
"""Pixels; the maximum of JPEG and GIF. Pillow's resize takes 16 bytes per pixel of a side, besides the image."""

_MAX_SCANS = 200
"""Scans of a JPEG; progressive ones have about ten. Each decodes all pixels, for a few bytes of the file."""

_MAX_SEGMENTS = 2_000
"""Segments of a JPEG; 16 MiB hold 256 of full size, and each scan adds about two."""

_MAX_PARSED = 100
"""Segments of a JPEG before its first scan that Pillow parses: Exif, Photoshop, tables. Ordinary files have ten.

Each Exif segment copies all Exif before it; one segment of tables takes up to 10 ms.
"""

_MAX_FILL = 2**16
"""Bytes between the segments of a JPEG before its first scan, read one by one; most have none."""

_MAX_CHUNKS = 10_000
"""Chunks of a PNG; 16 MiB are 2,000 of 8 KiB, the usual size. Each takes 6 µs."""

_MAX_COMPRESSED = 100
"""Chunks of a PNG with compressed texts or profiles, each of which may inflate to 1 MiB."""

_COMPRESSED = {b"iCCP", b"zTXt", b"iTXt"}

_MAX_BLOCKS = 200_000
"""Blocks of at most 255 bytes in the extensions of a GIF before its first frame; 16 MiB are 65,000."""

_MAX_RLE = 4 * 2**20
"""Pixels, and bytes, of a run-length encoded BMP: Pillow decodes it in Python, up to 1 µs each."""

_RLE = (1, 2)
"""Compressions of a BMP: run-length encoding of 8 and of 4 bits per pixel."""

_COMMENT, _APPLICATION = b"\xfe", b"\xff"
"""Extensions of a GIF."""

_SEQUENTIAL, _APP1, _APP13, _SOI, _EOI, _SOS = (0xC0, 0xC1), 0xE1, 0xED, 0xD8, 0xD9, 0xDA

_JPEG_MARKER = re.compile(rb"\xff[\x02-\xc7\xc9-\xcf\xd8-\xef\xfe]")
"""A marker that is followed by a length, or is `_SOI` or `_EOI`; FF 00 in a scan is not a marker."""


def check_file(data: bytes, max_pixels: int) -> None:
    """Reject a file that takes Pillow much time or memory before its size is known.

    Args:
        data: The file; other formats are left to Pillow.
        max_pixels: As for `check_size`.

    Raises:
        InvalidImageError: It has too many parts, or a GIF's first frame is too large; the message names the limit.
    """
    if data.startswith(b"\xff\xd8"):
        _check_jpeg(data)
    elif data.startswith(b"\x89PNG"):
        _check_png(data)
    elif data.startswith(b"GIF8"):
        _check_gif(data, max_pixels)
    elif data.startswith(b"BM"):
        _check_bmp(data)


def check_size(width: int, height: int, max_pixels: int, kind: str = "") -> None:
    """Reject an image with too many pixels, in total or per side.

    Args:
        width: From the header of the file.
        height: From the header, too.
        max_pixels: In total.
        kind: For the message, if the limit is not that of all images, as in " of a WebP".

    Raises:
        InvalidImageError: The message names the limit.
    """
    if width * height > max_pixels:
        raise InvalidImageError(f"the image has {width} × {height} pixels; the limit is {max_pixels} in all{kind}")
    if max(width, height) > _MAX_SIDE:
        raise InvalidImageError(f"the image has {width} × {height} pixels; the limit is {_MAX_SIDE} a side")


def _check_jpeg(data: bytes) -> None:
    components = b""  # Of a sequential JPEG; if the first scan has all of them, there is no other scan.
    scans = segments = parsed = fill = at = 0
    while found := _JPEG_MARKER.search(data, at, len(data) if scans else at + _MAX_FILL + 2):
        if not scans:
            fill += found.start() - at
        marker, at = data[found.end() - 1], found.end()
        segments += 1
        if marker == _EOI and scans:
            break
        scans += marker == _SOS
        if segments > _MAX_SEGMENTS or scans > _MAX_SCANS:
            raise InvalidImageError(
                f"the image has more segments or scans than a JPEG needs; the limits are {_MAX_SEGMENTS} and "
                f"{_MAX_SCANS}"
            )
        if marker in (_SOI, _EOI):
            continue
        if marker in _SEQUENTIAL:
            components = data[at + 7 : at + 8]
        first = marker == _SOS and scans == 1
        if first and (data[at + 2 : at + 3] == components or data.count(b"\xff\xda", at) < _MAX_SCANS):
            break
        if not scans:
            parsed += marker < 0xE0 or marker == _APP13 or (marker == _APP1 and data[at + 2 : at + 6] == b"Exif")
        at += max(2, int.from_bytes(data[at : at + 2], "big"))
    if not scans:
        fill += max(0, len(data) - at)
    if parsed > _MAX_PARSED or fill > _MAX_FILL:
        raise InvalidImageError(
            f"the image has more Exif, tables or bytes between its segments than a JPEG needs; the limits are "
            f"{_MAX_PARSED} segments and {_MAX_FILL} bytes"
        )


def _check_png(data: bytes) -> None:
    at, chunks, compressed = 8, 0, 0
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        if kind == b"IEND":
            return
        chunks += 1
        compressed += kind in _COMPRESSED
        if chunks > _MAX_CHUNKS or compressed > _MAX_COMPRESSED:
            raise InvalidImageError(
                f"the image has more chunks than a PNG needs; the limits are {_MAX_CHUNKS} in all and "
                f"{_MAX_COMPRESSED} with compressed texts or profiles"
            )
        at += 12 + length


def _check_gif(data: bytes, max_pixels: int) -> None:
    """Parse up to the first frame as Pillow does, so that both find the same frame."""
    file, blocks = io.BytesIO(data), 0

    def count() -> None:
        nonlocal blocks
        blocks += 1
        if blocks > _MAX_BLOCKS:
            raise InvalidImageError(
                f"the image has more blocks before its first frame than a GIF needs; the limit is {_MAX_BLOCKS}"
            )

    def block() -> bytes:
        count()
        length = file.read(1)
        return file.read(length[0]) if length else b""

    head = file.read(13).ljust(13, b"\0")
    if head[10] & 0x80:
        file.seek(3 << (head[10] & 7) + 1, io.SEEK_CUR)
    while (kind := file.read(1)) not in (b"", b";"):
        if kind == b",":
            width, height, left, top, wide, high = struct.unpack("<6H", head[6:10] + file.read(8).ljust(8, b"\0"))
            check_size(max(width, left + wide), max(height, top + high), max_pixels)
            return
        if kind != b"!":
            count()
            continue
        label, part = file.read(1), block()
        if label == _COMMENT:
            while part:
                part = block()
            continue
        if label == _APPLICATION and part.startswith(b"NETSCAPE2.0"):
            block()
        while block():
            pass


def _check_bmp(data: bytes) -> None:
    if len(data) < 34:
        return
    head_size, width, height, compression = struct.unpack("<4xIii4xI", data[10:34])
    rle = head_size >= 40 and compression in _RLE
    if rle and max(abs(width * height), len(data)) > _MAX_RLE:
        raise InvalidImageError(
            f"the image is a run-length encoded BMP of {width} × {height} pixels and {len(data)} bytes; "
            f"the limit of each is {_MAX_RLE}"
        )
