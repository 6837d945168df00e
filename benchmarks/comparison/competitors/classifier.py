"""The parts that are the same behind every serving layer: base64, decoding, OpenVINO, JSON."""

from __future__ import annotations

from queue import SimpleQueue

import numpy as np
import openvino
import orjson
import pybase64
from numpy.typing import NDArray

from model_store.trust.manifest import InputContract
from service.images.decoder import ImageLimits, decode_image

from .task import Task

_LIMITS = ImageLimits(max_bytes=2**24, max_pixels=10**8)


class Decoder:
    """From the images of a request to pixels, as the service does it."""

    def __init__(self, task: Task) -> None:
        self._contract = InputContract(height=task.height, width=task.width)

    def decode(self, base64: str) -> NDArray[np.uint8]:
        """Return the pixels of one image, `uint8 [height, width, 3]`."""
        return decode_image(pybase64.b64decode(base64, validate=True), self._contract, _LIMITS)

    def decode_all(self, document: dict[str, list[dict[str, str]]]) -> NDArray[np.uint8]:
        """Return the pixels of a request in row format, `uint8 [n, height, width, 3]`."""
        return np.stack([self.decode(instance["b64"]) for instance in document["instances"]])


class Classifier:
    """The network, compiled with as many streams as the choice asks for; may be called from several threads."""

    def __init__(self, task: Task) -> None:
        core = openvino.Core()
        config = {
            "INFERENCE_PRECISION_HINT": "bf16" if task.precision == "bf16" else "f32",
            "INFERENCE_NUM_THREADS": max(1, task.threads // task.choice.workers),
            "NUM_STREAMS": task.choice.streams,
            "ENABLE_CPU_PINNING": False,
        }
        compiled = core.compile_model(core.read_model(task.network), "CPU", config)
        self._free: SimpleQueue[openvino.InferRequest] = SimpleQueue()
        for _ in range(task.choice.streams):
            self._free.put(compiled.create_infer_request())
        size = 1
        while size <= task.choice.batch:  # The first run of a size takes longer; the warm-up load meets most of them.
            self.run(np.zeros((size, task.height, task.width, 3), np.uint8))
            size *= 2

    def run(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the scores of a batch, `float32 [n, classes]`; waits until a stream is free."""
        request = self._free.get()
        try:
            request.infer({0: openvino.Tensor(np.require(pixels, requirements=["C", "W"]), shared_memory=True)})
            return np.array(request.get_output_tensor(0).data, np.float32)
        finally:
            self._free.put(request)


def predictions(scores: NDArray[np.float32]) -> bytes:
    """Return the response body in row format."""
    return orjson.dumps({"predictions": np.ascontiguousarray(scores)}, option=orjson.OPT_SERIALIZE_NUMPY)
