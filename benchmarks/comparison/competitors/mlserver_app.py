"""MLServer: a runtime of our own in the process of the server, behind its adaptive batcher where that pays."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import mlserver  # type: ignore[import-not-found]
import numpy as np
import orjson
import uvloop
from fastapi import Request, Response  # type: ignore[import-not-found,unused-ignore]
from mlserver.context import model_context  # type: ignore[import-not-found]
from mlserver.handlers import custom_handler  # type: ignore[import-not-found]
from mlserver.settings import ModelParameters, ModelSettings, Settings  # type: ignore[import-not-found]
from mlserver.types import (  # type: ignore[import-not-found]
    InferenceRequest,
    InferenceResponse,
    RequestInput,
    ResponseOutput,
)
from numpy.typing import NDArray

from benchmarks.comparison.competitors.classifier import Classifier, Decoder, predictions
from benchmarks.comparison.competitors.task import Task

TASK = Task.from_environment()


class Runtime(mlserver.MLModel):  # type: ignore[misc]
    """Decode and run in threads."""

    async def load(self) -> bool:
        """Load the network."""
        self.decoder = Decoder(TASK)
        self.classifier = Classifier(TASK)
        self.decoding = ThreadPoolExecutor(TASK.threads)
        self.running = ThreadPoolExecutor(TASK.choice.streams)
        return True

    @custom_handler(rest_path=TASK.path)  # type: ignore[untyped-decorator]
    async def classify(self, request: Request) -> Response:
        """Respond to a predict request of TensorFlow Serving."""
        document = orjson.loads(await request.body())
        pixels = await self._loop.run_in_executor(self.decoding, self.decoder.decode_all, document)
        scores = await (self._run(pixels) if TASK.choice.batch == 1 else self._run_in_batch(pixels))
        return Response(predictions(scores), media_type="application/json")

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Run a batch that MLServer's batcher assembled."""
        (images,) = payload.inputs
        scores = await self._run(np.frombuffer(images.data.root, np.uint8).reshape(images.shape))
        output = ResponseOutput(name="scores", datatype="FP32", shape=list(scores.shape), data=scores.ravel().tolist())
        return InferenceResponse(model_name=self.name, outputs=[output])

    async def _run(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        return await self._loop.run_in_executor(self.running, self.classifier.run, pixels)

    async def _run_in_batch(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        images = RequestInput(name="pixels", datatype="UINT8", shape=list(pixels.shape), data=pixels.tobytes())
        with model_context(self.settings):  # The batcher, which stands before `predict`, counts by it.
            answer = await self.predict(InferenceRequest(inputs=[images]))
        return np.asarray(answer.outputs[0].data.root, np.float32).reshape(len(pixels), -1)

    @property
    def _loop(self) -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()


async def serve() -> None:
    """Serve until a signal comes."""
    settings = Settings(
        debug=False,
        host="127.0.0.1",
        http_port=TASK.port,
        grpc_port=0,
        metrics_endpoint=None,
        parallel_workers=0,
        gzip_enabled=False,
    )
    model = ModelSettings(
        name=TASK.model,
        implementation=Runtime,
        parameters=ModelParameters(version="1"),
        max_batch_size=TASK.choice.batch,
        max_batch_time=TASK.choice.wait_ms / 1000,
    )
    await mlserver.MLServer(settings).start([model])


if __name__ == "__main__":
    uvloop.install()
    asyncio.run(serve())
