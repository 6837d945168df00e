"""Tune memory allocation and garbage collection of this process."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import sys
from contextlib import suppress

_ARENAS = 2
"""Heaps shared by all threads; by default glibc creates eight per core, and each keeps free pages of its own."""

_TRIM_INTERVAL_S = 60.0
"""Trimming takes one to five milliseconds."""

_M_ARENA_MAX = -8
"""The number of the option, from glibc's malloc.h."""


def limit_arenas() -> None:
    """Limit the heaps of the C library; to be called before threads are started.

    Most memory is in large arrays, which have pages of their own, so threads rarely compete for a heap.
    """
    _call_libc("mallopt", _M_ARENA_MAX, _ARENAS)


def trim_memory() -> None:
    """Return the free memory of the C library to the system.

    A model's memory is freed when its engine is closed, but glibc may keep the pages; without this TensorFlow's
    second version would find the process 1.5 GB larger than the first did.
    """
    _call_libc("malloc_trim", 0)


def _call_libc(function: str, *arguments: int) -> None:
    if sys.platform == "linux":
        with suppress(AttributeError):  # musl has neither.
            getattr(ctypes.CDLL(None), function)(*arguments)


async def trim_periodically() -> None:
    """Return free memory to the system every minute.

    The memory of the largest backlog or image is not kept for the next one.
    """
    while True:
        await asyncio.sleep(_TRIM_INTERVAL_S)
        await asyncio.to_thread(trim_memory)


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
