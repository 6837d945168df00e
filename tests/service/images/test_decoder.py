"""Every kind of picture comes out right, and every broken one is refused with its reason."""

from __future__ import annotations

import ctypes
import io
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sklearn.datasets
from numpy.typing import NDArray
from PIL import Image

from model_store.trust.manifest import InputContract
from service.core.deadline import Deadline
from service.core.errors import DeadlineExceededError, InvalidImageError
from service.images.decoder import Decoder, ImageLimits, decode_image
from tests.hostile.images import png
from tests.server import ROOT

CONTRACT = InputContract(height=8, width=12)
LIMITS = ImageLimits(max_bytes=4 * 2**20, max_pixels=1_000_000)

RED = (200, 30, 40)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def decoded(data: bytes) -> NDArray[np.uint8]:
    pixels = decode_image(data, CONTRACT, LIMITS)
    assert pixels.shape == (8, 12, 3)
    assert pixels.dtype == np.uint8
    return pixels


def plain(mode: str, color: Any, size: tuple[int, int] = (24, 16)) -> Image.Image:
    return Image.new(mode, size, color)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "WEBP"])
def test_formats(kind: str) -> None:
    pixels = decoded(encoded(plain("RGB", RED), kind))
    assert np.abs(pixels.astype(int) - RED).max() <= 6


def test_grey_palette_and_bilevel() -> None:
    assert (decoded(encoded(plain("L", 90), "PNG")) == 90).all()
    assert (decoded(encoded(plain("RGB", RED).convert("P", palette=Image.Palette.ADAPTIVE), "PNG")) == RED).all()
    assert (decoded(encoded(plain("1", 1), "PNG")) == 255).all()


def test_sixteen_bits_keep_the_upper_eight() -> None:
    grey = Image.fromarray(np.full((16, 24), 90 * 256 + 7, np.uint16))
    assert (decoded(encoded(grey, "PNG")) == 90).all()


def test_alpha_comes_out_on_white() -> None:
    assert (decoded(encoded(plain("RGBA", (*RED, 0)), "PNG")) == 255).all()
    half = decoded(encoded(plain("RGBA", (0, 0, 0, 128)), "PNG"))
    assert np.abs(half.astype(int) - 127).max() <= 1
    assert (decoded(encoded(plain("LA", (10, 0)), "PNG")) == 255).all()
    palette = plain("P", 0)
    palette.putpalette([*RED] * 256)
    assert (decoded(encoded(palette, "PNG", transparency=0)) == 255).all()


def test_cmyk_jpeg() -> None:
    pixels = decoded(encoded(plain("RGB", RED).convert("CMYK"), "JPEG"))
    assert np.abs(pixels.astype(int) - RED).max() <= 12


def test_exif_orientation_is_applied() -> None:
    upright = Image.new("RGB", (24, 16), "black")
    upright.paste("white", (0, 0, 12, 16))  # White on the left.
    exif = Image.Exif()
    exif[0x0112] = 6  # The camera was turned: show it a quarter turn clockwise.
    pixels = decoded(encoded(upright, "JPEG", exif=exif))
    assert pixels[0].mean() > 200  # White on top now.
    assert pixels[-1].mean() < 55


def test_first_frame_of_an_animation() -> None:
    frames = [plain("RGB", RED), plain("RGB", "blue")]
    for kind in ("GIF", "WEBP"):
        data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
        assert np.abs(decoded(data).astype(int) - RED).max() <= 12


def test_a_photograph_is_close_to_a_plain_resize() -> None:
    """Decoding a JPEG at a reduced scale is a shortcut that rounds the colours a little, and nothing more."""
    photo = Path(sklearn.datasets.__file__).parent / "images" / "china.jpg"
    contract = InputContract(height=71, width=71)
    fast = decode_image(photo.read_bytes(), contract, LIMITS)
    with Image.open(photo) as image:
        slow = np.asarray(image.convert("RGB").resize((71, 71), Image.Resampling.BILINEAR))
    assert np.abs(fast.astype(int) - slow).mean() < 1.5


def huge_png() -> bytes:
    """Return a PNG whose header promises 60,000 × 60,000 pixels."""
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 64)) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "the image is empty"),
        (b"not an image", "known format"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "known format"),
        (encoded(plain("RGB", RED), "TIFF"), "known format"),
        (encoded(Image.effect_noise((200, 200), 50), "JPEG")[:2000], "cannot be decoded"),
        (encoded(Image.effect_noise((200, 200), 50), "PNG")[:2000], "cannot be decoded"),
        (png(100_000, 1, pixels=zlib.compress(bytes(100_001))), r"100000 × 1 pixels; the limit is 65535 a side"),
        (encoded(Image.new("RGB", (1000, 501)), "WEBP"), r"1000 × 501 pixels; the limit is 500000 in all of a WebP"),
        (huge_png(), r"60000 × 60000 pixels; the limit is 1000000"),
        (b"\xff\xd8" + b"x" * 5 * 2**20, "the limit is 4194304"),
    ],
    ids=["empty", "text", "svg", "tiff", "cut-jpeg", "cut-png", "long", "webp", "bomb", "large"],
)
def test_broken_images_are_refused_with_the_reason(data: bytes, reason: str) -> None:
    with pytest.raises(InvalidImageError, match=reason):
        decode_image(data, CONTRACT, LIMITS)


def test_flipped_bytes_never_raise_anything_else() -> None:
    noise = np.random.default_rng(0)
    for kind in ("JPEG", "PNG", "GIF", "WEBP", "BMP"):
        whole = encoded(Image.effect_noise((40, 40), 50).convert("RGB"), kind)
        for _ in range(150):
            broken = bytearray(whole)
            for place in noise.integers(0, len(broken), 8):
                broken[place] = noise.integers(0, 256)
            with suppress(InvalidImageError):
                decoded(bytes(broken))


def test_memory_is_little_more_than_the_picture_has() -> None:
    """Six bytes a pixel, where Pillow's RGB has four; with a copy of each step it was up to twenty."""
    side = 3000
    bound = 6 * side * side + 24 * 2**20
    exif = Image.Exif()
    exif[0x0112] = 6
    palette = plain("P", 0, (side, side))
    palette.putpalette([*RED] * 256)
    limits = ImageLimits(max_bytes=2**24, max_pixels=side * side)
    for name, data in {
        "RGB": encoded(plain("RGB", RED, (side, side)), "PNG", exif=exif),
        "RGBA": encoded(plain("RGBA", (*RED, 9), (side, side)), "PNG", exif=exif),
        "RGBA, upright": encoded(plain("RGBA", (*RED, 9), (side, side)), "PNG"),
        "LA": encoded(plain("LA", (9, 9), (side, side)), "PNG", exif=exif),
        "palette": encoded(palette, "PNG", transparency=bytes(range(256)), exif=exif),
        "16 bits": encoded(plain("I;16", 9999, (side, side)), "PNG", exif=exif),
        "GIF": encoded(palette, "GIF", transparency=0),
    }.items():
        decode = partial(decode_image, data, CONTRACT, limits)
        # On a full machine pages of libraries come back in the meantime, and count as well.
        assert any(peak_growth(decode) <= bound for _ in range(3)), f"{name}: over {bound / 2**20:.0f} MiB"


def peak_growth(work: Callable[[], object]) -> int:
    """Return by how many bytes the memory of this process was at most larger than before."""

    def memory(field: str) -> int:
        status = Path("/proc/self/status").read_text()
        return int(status.partition(f"{field}:")[2].split()[0]) * 1024

    ctypes.CDLL(None).malloc_trim(0)  # What earlier pictures have left behind would hide what this one takes.
    Path("/proc/self/clear_refs").write_text("5")
    before = memory("VmRSS")
    work()
    return memory("VmHWM") - before


WITHOUT_MEMORY = """
import io, resource
from PIL import Image
from model_store.trust.manifest import InputContract
from service.images.decoder import ImageLimits, decode_image
from service.core.errors import NotReadyError
out = io.BytesIO()
Image.new("L", (8000, 8000)).save(out, "PNG")
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 2**24, -1))
try:
    decode_image(out.getvalue(), InputContract(height=8, width=12), ImageLimits(2**24, 64_000_000))
except NotReadyError as error:
    print(error.status.value, error.reason, error)
"""


def test_a_lack_of_memory_is_not_the_callers_fault() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT_MEMORY], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout == "503 memory there is not enough memory now to decode the image\n", done.stderr


async def test_decoder_keeps_the_order_and_names_the_bad_one() -> None:
    decoder = Decoder(2, LIMITS)
    decoder.start()
    grey = [encoded(plain("L", level), "PNG") for level in range(20)]
    pixels = await decoder.decode(grey, CONTRACT, Deadline(10))
    assert pixels[:, 0, 0, 0].tolist() == list(range(20))
    with pytest.raises(InvalidImageError, match=r"^the bytes are not") as refused:
        await decoder.decode([grey[0], b"x", grey[2]], CONTRACT, Deadline(10))
    assert refused.value.index == 1
    named = refused.value.within(["instances[0]", "instances[1]", "instances[2]"])
    assert str(named).startswith("instances[1]: the bytes are not")
    with pytest.raises(DeadlineExceededError):
        await decoder.decode(grey, CONTRACT, Deadline(0))
    await decoder.stop()
