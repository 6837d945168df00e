"""BentoML's own way: an edge that decodes, and before the engine BentoML's `batchable=True`."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import bentoml
import numpy as np
import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from benchmarks.servers.bentoml_options import OPTIONS

from .classifier import Classifier, Decoder, predictions
from .task import Task

TASK = Task.from_environment()


@bentoml.service(name="compared_runner", **OPTIONS)
class ComparedRunner:
    """Run the engine."""

    def __init__(self) -> None:
        self.classifier = Classifier(TASK)

    @bentoml.api(batchable=True, max_batch_size=TASK.choice.batch, max_latency_ms=60_000)  # type: ignore[untyped-decorator]
    def infer(self, pixels: np.ndarray) -> np.ndarray:
        """Return the scores of a batch that BentoML assembled."""
        return self.classifier.run(pixels)


_edges: list[ComparedEdge] = []
_decoder = Decoder(TASK)
_pool = ThreadPoolExecutor(TASK.threads)


async def predict(request: Request) -> Response:
    """Respond to a predict request of TensorFlow Serving."""
    document = orjson.loads(await request.body())
    pixels = await asyncio.get_running_loop().run_in_executor(_pool, _decoder.decode_all, document)
    scores = await _edges[0].runner.to_async.infer(pixels)
    return Response(predictions(scores), media_type="application/json")


@bentoml.service(name="compared_edge", **OPTIONS)
@bentoml.asgi_app(Starlette(routes=[Route(TASK.path, predict, methods=["POST"])]), path="/")
class ComparedEdge:
    """Handle HTTP."""

    runner = bentoml.depends(ComparedRunner)

    def __init__(self) -> None:
        _edges.append(self)
