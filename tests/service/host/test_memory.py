"""What stays in memory of a request that was refused."""

from __future__ import annotations

import asyncio
import gc
import sys
import weakref
from collections.abc import Iterator

import pytest

from model_store.trust.manifest import InputContract
from service.core.deadline import Deadline
from service.core.errors import InvalidImageError
from service.host import memory
from service.host.memory import drop_tracebacks, periodic_gc
from service.http.responses import error_response
from service.images.decoder import Decoder, ImageLimits

CONTRACT = InputContract(height=8, width=8)


@pytest.fixture
def no_search() -> Iterator[None]:
    """Nobody looks for garbage that is a circle."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_search")
async def test_an_image_goes_with_the_answer_that_it_cannot_be_decoded() -> None:
    decoder = Decoder(1, ImageLimits(2**20, 10**6))
    decoder.start()
    image = b"\xff\xd8 no picture"
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


def test_all_that_an_error_came_from_is_cut_loose() -> None:
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


class Circle:
    def __init__(self) -> None:
        self.itself = self


@pytest.mark.usefixtures("no_search")
async def test_circles_are_gone_within_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_GC_INTERVAL_S", 0.01)
    gone = weakref.ref(Circle())
    assert gone() is not None
    tidying = asyncio.create_task(periodic_gc())
    for _ in range(500):
        if gone() is None:
            break
        await asyncio.sleep(0.01)
    tidying.cancel()
    assert gone() is None
