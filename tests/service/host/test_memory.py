"""What stays in memory of a request that was rejected, and of what has been freed."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import sys
from collections.abc import Iterator

import psutil
import pytest

from model_store.trust.manifest import InputContract
from service.core.deadline import Deadline
from service.core.errors import InvalidImageError
from service.host import memory
from service.host.memory import drop_tracebacks, trim_periodically
from service.http.responses import error_response
from service.images.decoder import Decoder, ImageLimits

CONTRACT = InputContract(height=8, width=8)

BLOCK = 2**16
"""Bytes; less than what the C library takes from the system by itself."""
BLOCKS = 1024


@pytest.fixture
def no_search() -> Iterator[None]:
    """Turn garbage collection off."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_search")
async def test_an_image_that_cannot_be_decoded_is_freed_with_the_response() -> None:
    decoder = Decoder(1, ImageLimits(2**20, 10**6))
    decoder.start()
    image = b"\xff\xd8 no image"
    held = sys.getrefcount(image)

    async def refuse() -> int:
        try:
            await decoder.decode([image], CONTRACT, Deadline(10))
        except InvalidImageError as error:
            within = error.within(["image"])
            within.__cause__ = error
            return error_response(
                within, {"type": "http", "path": "/classify", "method": "POST", "headers": []}
            ).status_code
        raise AssertionError("it was decoded")

    assert [await refuse() for _ in range(3)] == [400] * 3
    await decoder.stop()
    assert sys.getrefcount(image) == held


def test_the_tracebacks_of_all_causes_are_dropped() -> None:
    def raise_all() -> None:
        try:
            try:
                raise KeyError("first")
            except KeyError:
                raise ValueError("second") from None
        except ValueError as error:
            raise RuntimeError("third") from error

    with pytest.raises(RuntimeError) as caught:
        raise_all()
    third = caught.value
    second = third.__cause__
    assert second is not None
    first = second.__context__
    assert first is not None
    drop_tracebacks(third)
    assert [one.__traceback__ for one in (first, second, third)] == [None] * 3


@pytest.mark.skipif(sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="no glibc")
async def test_freed_memory_is_given_back_within_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = (
        ctypes.c_void_p,
        [ctypes.c_size_t],
        [ctypes.c_void_p],
    )
    blocks = [libc.malloc(BLOCK) for _ in range(BLOCKS)]
    for block in blocks:
        ctypes.memset(block, 1, BLOCK)
    last = libc.malloc(BLOCK)  # Behind them, so that the heap cannot shrink by itself.
    for block in blocks:
        libc.free(block)
    process = psutil.Process()
    before = process.memory_info().rss
    monkeypatch.setattr(memory, "_TRIM_INTERVAL_S", 0.01)
    trimming = asyncio.create_task(trim_periodically())
    async with asyncio.timeout(10):
        while before - process.memory_info().rss < BLOCK * BLOCKS / 2:  # noqa: ASYNC110 -- of the system
            await asyncio.sleep(0.01)
    trimming.cancel()
    libc.free(last)
