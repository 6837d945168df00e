"""An inference, and an application that is called in the process of a test."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import numpy as np
from starlette.types import ASGIApp

from service.core.inference import Inference
from service.core.result import Result
from tests.service.protocols.open_inference.samples import MODEL


def inference() -> Inference:
    now = time.perf_counter()
    scores = np.array([[0.2, 0.7, 0.1]], np.float32)
    return Inference(MODEL, Result(scores, queue_s=0.001, infer_s=0.002, batch_size=4), 0.003, now - 0.01, now)


async def request(app: ASGIApp, path: str = "/", method: str = "GET", **headers: str) -> httpx.Response:
    """Send one request to an application."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        return await client.request(method, path, headers=sent)


@contextmanager
def logged(name: str) -> Iterator[list[logging.LogRecord]]:
    """Collect what is logged."""
    records: list[logging.LogRecord] = []
    handler = logging.Handler(logging.DEBUG)
    handler.emit = records.append  # type: ignore[method-assign]
    logger = logging.getLogger(name)
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        yield records
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
