"""Tune memory allocation and garbage collection of this process."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import sys

_ARENAS = 2
"""Heaps that glibc's threads share; by default it makes eight for each core, and each keeps pages of its own."""

_TRIM_EVERY_S = 60.0
"""Trimming takes one to five milliseconds."""

_M_ARENA_MAX = -8
"""The number of the option, from glibc's malloc.h."""


def limit_heaps() -> None:
    """Have all threads share a few heaps; call it before threads are started.

    The work is done in large arrays that have pages of their own, so threads hardly meet at a heap.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
        if mallopt is not None:
            mallopt(_M_ARENA_MAX, _ARENAS)


def give_back_memory() -> None:
    """Return the free memory of the C library to the system.

    A model's memory is freed when its engine is closed, but glibc may keep the pages; without this TensorFlow's
    second version would find the process 1.5 GB larger than the first did.
    """
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # musl has none
        if trim is not None:
            trim(0)


async def trim_periodically() -> None:
    """Return free memory to the system every minute.

    The memory of the largest backlog or image is not kept for the next one.
    """
    while True:
        await asyncio.sleep(_TRIM_EVERY_S)
        await asyncio.to_thread(give_back_memory)


def freeze_gc() -> None:
    """Exclude the objects loaded so far from garbage collection.

    The hundred thousand objects of the libraries are never garbage. Requests leave no reference cycles
    (`drop_tracebacks`), so that collections are rare and find nothing.
    """
    gc.freeze()


def drop_tracebacks(error: BaseException) -> None:
    """Remove the tracebacks of an error and of its causes; to be called once it has been reported.

    The frames of a traceback hold the images of a request, and some hold the error itself. Only garbage collection
    frees such a cycle: until then broken images of 16 MiB would add up to gigabytes.
    """
    chain: list[BaseException | None] = [error]
    seen: set[int] = set()
    while chain:
        one = chain.pop()
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            one.__traceback__ = None
            chain += [one.__cause__, one.__context__]
