"""Two services that differ only in the batcher: BentoML's `batchable=True`, and the batcher of this project.

Same edge, same typed call between the services, same engine. Started by `python -m benchmarks batchers`.
An image whose first pixel is pure magenta makes the engine fail.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import cast

import bentoml
import numpy as np
import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from benchmarks.servers.bentoml_options import OPTIONS
from engines.cpus import available_cpus
from engines.registry import load_engine
from engines.selection import choose_variant
from service.batching.batcher import Batcher
from service.batching.calibration import calibrate
from service.core.deadline import Deadline, Priority
from service.core.errors import ServiceError
from service.edge.admission import Admission
from service.edge.cancellation import cancel_on_disconnect
from service.http.disconnect import disconnected
from service.images.decoder import Decoder, ImageLimits
from service.lifecycle.desired_state import pull_default
from service.lifecycle.golden_check import golden_pixels
from service.protocols.tfserving.body import parse_body
from service.protocols.tfserving.predict import format_predict, parse_predict
from service.settings import load_settings

SETTINGS = load_settings()
MAGENTA = (255, 0, 255)


class CountingEngine:
    """Count the images that the real engine runs, and fail on magenta."""

    def __init__(self) -> None:
        model = pull_default(SETTINGS)
        variant = choose_variant(model.manifest, SETTINGS.engine, SETTINGS.precision, SETTINGS.max_accuracy_loss)
        self.engine = load_engine(model, variant, available_cpus())
        self.images = 0

        async def run(batch: np.ndarray, streams: int) -> float:
            started = time.perf_counter()
            each = range(streams) if streams > 1 else (None,)
            await asyncio.gather(*(asyncio.to_thread(self.engine.run, batch, stream) for stream in each))
            return time.perf_counter() - started

        sample, streams, size = golden_pixels(model), self.engine.streams, SETTINGS.max_batch_size
        learning = calibrate(run, sample, streams=streams, max_size=size, budget_s=3)
        with ThreadPoolExecutor(1) as pool:  # BentoML makes services in a thread whose event loop runs.
            self.profile = pool.submit(asyncio.run, learning).result()

    def run(self, pixels: np.ndarray, stream: int | None = None) -> np.ndarray:
        """Return the scores, `float32 [n, classes]`."""
        self.images += len(pixels)
        if (pixels[:, 0, 0] == MAGENTA).all(axis=1).any():
            raise RuntimeError("bad image")
        return self.engine.run(pixels, stream)


class SilentObserver:
    """Ignore all events."""

    def batch_finished(self, images: int, seconds: float) -> None:
        """Ignore the event."""

    def images_dropped(self, reason: str, images: int) -> None:
        """Ignore the event."""


@bentoml.service(name="bentoml_batching_runner", **OPTIONS)
class BentoMLBatchingRunner:
    """Batch with BentoML."""

    def __init__(self) -> None:
        self.engine = CountingEngine()

    @bentoml.api(batchable=True, max_batch_size=32, max_latency_ms=SETTINGS.request_timeout_ms)
    def infer(self, pixels: np.ndarray) -> np.ndarray:
        """Return the scores of a batch that BentoML assembled."""
        return self.engine.run(pixels)

    @bentoml.api
    def batch_finished(self) -> int:
        """Return how many images the engine has run."""
        return self.engine.images


@bentoml.service(name="own_batching_runner", **OPTIONS)
class OwnBatchingRunner:
    """Batch with this project's batcher, behind the same typed call."""

    def __init__(self) -> None:
        self.engine = CountingEngine()
        self.batcher = Batcher(SilentObserver(), max_images=256, max_bytes=2**28, threads=available_cpus())

    @bentoml.on_startup
    async def start(self) -> None:
        """Start the batcher."""
        self.batcher.start()

    @bentoml.api
    async def infer(self, pixels: np.ndarray) -> np.ndarray:
        """Return the scores of one request."""
        result = await self.batcher.submit(
            self.engine, pixels, Deadline(SETTINGS.request_timeout_ms / 1000), Priority.INTERACTIVE
        )
        return result.scores

    @bentoml.api
    def batch_finished(self) -> int:
        """Return how many images the engine has run."""
        return self.engine.images


DECODER = Decoder(available_cpus(), ImageLimits(2**24, 10**8))
"""Started by each edge, in a process of its own."""


def edge_app(edge: list[object]) -> Starlette:
    """Return the routes of an edge whose instance will be in `edge`: predict, and the engine's count."""
    manifest = pull_default(SETTINGS).manifest
    admission = Admission(10**6, 2**34)

    async def predict(request: Request) -> Response:
        try:
            parsed = parse_predict(parse_body(await request.body()), manifest.signatures, 64)
            with admission.admit(Deadline(SETTINGS.request_timeout_ms / 1000)) as permit:
                pixels = await DECODER.decode(cast(list[bytes], parsed.inputs), manifest.input, permit.deadline)
            call = edge[0].runner.to_async.infer(pixels)  # type: ignore[attr-defined]
            scores = await cancel_on_disconnect(call, disconnected(request))
        except ServiceError as error:
            return Response(str(error), status_code=error.status)
        except Exception as error:
            return Response(str(error), status_code=int(getattr(error, "error_code", 500)))
        return Response(format_predict(parsed, scores), media_type="application/json")

    async def ran(_: Request) -> Response:
        images = await edge[0].runner.to_async.ran()  # type: ignore[attr-defined]
        return Response(orjson.dumps({"images": images, "at": time.time()}), media_type="application/json")

    return Starlette(
        routes=[
            Route("/v1/models/{model}:predict", predict, methods=["POST"]),
            Route("/ran", ran, methods=["GET"]),
        ]
    )


_bentoml_edge: list[object] = []
_own_edge: list[object] = []


@bentoml.service(name="bentoml_batching", **OPTIONS)
@bentoml.asgi_app(edge_app(_bentoml_edge), path="/")
class BentoMLBatching:
    """The edge in front of BentoML's batcher."""

    runner = bentoml.depends(BentoMLBatchingRunner)

    def __init__(self) -> None:
        _bentoml_edge.append(self)

    @bentoml.on_startup
    async def start(self) -> None:
        """Start the decoder."""
        DECODER.start()


@bentoml.service(name="own_batching", **OPTIONS)
@bentoml.asgi_app(edge_app(_own_edge), path="/")
class OwnBatching:
    """The edge in front of this project's batcher."""

    runner = bentoml.depends(OwnBatchingRunner)

    def __init__(self) -> None:
        _own_edge.append(self)

    @bentoml.on_startup
    async def start(self) -> None:
        """Start the decoder."""
        DECODER.start()
