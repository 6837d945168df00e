"""LitServe: an API server, and workers that decode, batch and run."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import litserve  # type: ignore[import-not-found]
import numpy as np
from numpy.typing import NDArray
from starlette.responses import Response

from benchmarks.comparison.competitors.classifier import Classifier, Decoder, predictions
from benchmarks.comparison.competitors.task import Task

TASK = Task.from_environment()
Pixels = NDArray[np.uint8]


class Api(litserve.LitAPI):  # type: ignore[misc]
    """Decode and run in a worker; images of a batch are decoded in parallel."""

    def setup(self, device: str) -> None:  # noqa: ARG002
        """Load the network."""
        self.decoder = Decoder(TASK)
        self.classifier = Classifier(TASK)
        self.threads = max(1, TASK.threads // TASK.choice.workers)
        self.pool = ThreadPoolExecutor(self.threads)

    def decode_request(self, request):  # type: ignore[no-untyped-def]  # An annotation changes what LitServe passes.
        """Return the pixels, `uint8 [n, height, width, 3]`, or in a batch their future."""
        if TASK.choice.batch == 1 or self.threads == 1:
            return self.decoder.decode_all(request)
        return self.pool.submit(self.decoder.decode_all, request)

    def batch(self, inputs: Sequence[Pixels | Future[Pixels]]) -> list[Pixels]:
        """Return the pixels of the requests, once all are decoded."""
        return [one.result() if isinstance(one, Future) else one for one in inputs]

    def predict(self, batch: Any) -> Any:
        """Return the scores of one request, or those of each request of a batch."""
        if isinstance(batch, np.ndarray):
            return self.classifier.run(batch)
        ends = np.cumsum([len(pixels) for pixels in batch])[:-1]
        return np.split(self.classifier.run(np.concatenate(batch)), ends)

    def unbatch(self, output: list[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        """Return the scores of each request."""
        return output

    def encode_response(self, output: NDArray[np.float32]) -> Response:
        """Return the response."""
        return Response(predictions(output), media_type="application/json")


if __name__ == "__main__":
    choice = TASK.choice
    api = Api(max_batch_size=choice.batch, batch_timeout=choice.wait_ms / 1000, api_path=TASK.path)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=choice.workers, timeout=60, fast_queue=True)
    server.run(
        host="127.0.0.1",
        port=TASK.port,
        num_api_servers=1,
        log_level="error",
        access_log=False,
        generate_client_file=False,
    )
