"""The data plane: scores for the images of a request, whatever the transport. `DataPlane.infer` is the request path.

    admit → (the transport reads) → choose a version → decode → submit (queue → batch → engine, in the runner)

HTTP stands on it (`service.http`, `service.protocols`); a further transport brings its own reading and writing only.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from engines.cpus import available_cpus
from service.core.deadline import Deadline, Priority
from service.core.errors import BadRequestError, ModelNotFoundError, PayloadTooLargeError, RunnerLostError
from service.core.inference import Inference
from service.core.serving_state import ModelInfo, RunnerState
from service.edge.admission import Admission, ClientQuota, Permit
from service.edge.cancellation import Disconnected, cancel_on_disconnect
from service.edge.runner_client import RunnerClient
from service.host.memory import drop_tracebacks, freeze_gc, trim_periodically
from service.images.decoder import Decoder, ImageLimits
from service.settings import MIB, Settings

VersionChooser = Callable[[RunnerState], ModelInfo]
"""Returns the version of a request, or raises the error of the response."""

Images = Sequence[bytes] | NDArray[np.uint8]
"""Encoded images, or pixels, `uint8 [n, height, width, 3]`."""


class DataPlane:
    """Admits requests, decodes images, and gets their scores from the runner; knows no HTTP."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.runner = RunnerClient()
        self.admission = Admission(
            settings.max_in_flight // settings.edge_workers, settings.max_in_flight_mib * MIB // settings.edge_workers
        )
        self.decoder = Decoder(
            settings.decode_threads or available_cpus(),
            ImageLimits(settings.max_image_mib * MIB, settings.max_image_megapixels * 1_000_000),
        )

    async def start(self, runner_url: str, runner_port: int) -> None:
        """Start the decoder threads and connect to the runner."""
        freeze_gc()
        self.decoder.start()
        self._trim = asyncio.create_task(trim_periodically())
        await self.runner.start(runner_url, runner_port)

    async def stop(self) -> None:
        """Stop admitting requests, then stop the threads and close the connections."""
        self.admission.close()
        self._trim.cancel()
        await self.decoder.stop()
        await self.runner.stop()

    def admit(self, deadline: Deadline, priority: Priority, size: int, client: ClientQuota | None) -> Permit:
        """Return the context manager in which a request holds its slot, as `Admission.admit` does."""
        return self.admission.admit(deadline, priority, size, client)

    async def infer(
        self, images: Images, choose: VersionChooser, permit: Permit, disconnected: Disconnected
    ) -> Inference:
        """Return the scores of the images of an admitted request, unless its client disconnects.

        A version that is swapped out while the request is in flight is chosen again, once; a runner that goes away is
        waited for, and the request is retried, once.

        Args:
            images: Encoded images, or pixels, `uint8 [n, height, width, 3]`.
            choose: Picks the version from what the runner serves.
            permit: Proof of admission.
            disconnected: Waits until the client has disconnected.

        Raises:
            ServiceError: No such version, undecodable image, rejected, late or failed.
            ClientDisconnectedError: The client disconnected.
        """
        permit.count_images(len(images))
        return await cancel_on_disconnect(self._infer(images, choose, permit), disconnected)

    async def _infer(self, images: Images, choose: VersionChooser, permit: Permit) -> Inference:
        model = choose(await self.runner.state())
        try:
            return await self._submit(images, model, permit)
        except ModelNotFoundError:
            state = await self.runner.state()  # It changed before the error was sent.
        except RunnerLostError as lost:
            drop_tracebacks(lost)
            state = await self.runner.wait_until_available(permit.deadline)
        return await self._submit(images, choose(state), permit)

    async def _submit(self, images: Images, model: ModelInfo, permit: Permit) -> Inference:
        started = time.perf_counter()
        if isinstance(images, np.ndarray):
            pixels = require_pixels(images, model)
        else:
            pixels = await self.decoder.decode(images, model.input, permit.deadline)
        if pixels.nbytes > self.settings.queue_max_mib * MIB:
            raise PayloadTooLargeError(
                f"{len(pixels)} images are {pixels.nbytes} bytes of pixels; at most "
                f"{self.settings.queue_max_mib} MiB may wait (QUEUE_MAX_MIB)"
            )
        decode_s = time.perf_counter() - started
        result = await self.runner.submit(pixels, model, permit)
        permit.record_response()
        return Inference(model, result, decode_s, started, time.perf_counter())


def require_pixels(pixels: NDArray[np.uint8], model: ModelInfo) -> NDArray[np.uint8]:
    """Return `pixels` if they fit the model's input, `uint8 [n, height, width, 3]`.

    Raises:
        BadRequestError: They have another shape; the message names both.
    """
    expected = (model.input.height, model.input.width, 3)
    if pixels.shape[1:] != expected:
        raise BadRequestError(f"an image has the shape {list(pixels.shape[1:])}; the model takes {list(expected)}")
    return pixels
