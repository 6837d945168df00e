"""OpenVINO on the CPU: the smallest and fastest of the engines there."""

from __future__ import annotations

import numpy as np
import openvino
from numpy.typing import NDArray

from model_store.manifest import Variant
from model_store.verify import VerifiedModel


class OpenVinoEngine:
    """A compiled model, run by one caller at a time."""

    def __init__(self, compiled: openvino.CompiledModel) -> None:
        self._request = compiled.create_infer_request()

    def run(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the scores, `float32 [n, classes]`, of `uint8 [n, height, width, 3]`."""
        # OpenVINO reads the pixels where they lie, but only takes memory that it could also write.
        tensor = openvino.Tensor(np.require(pixels, requirements=["C", "W"]), shared_memory=True)
        self._request.infer({0: tensor})
        return np.array(self._request.get_output_tensor(0).data, np.float32)

    def close(self) -> None:
        """Drop the request; OpenVINO frees the model with it."""
        del self._request


def load(model: VerifiedModel, variant: Variant, threads: int) -> OpenVinoEngine:
    """Compile the variant for the CPU with so many threads."""
    core = openvino.Core()
    config = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
        # The default on CPUs with AMX or AVX512-BF16 is bfloat16, which is another variant.
        "INFERENCE_PRECISION_HINT": "bf16" if variant.precision == "bf16" else "f32",
    }
    return OpenVinoEngine(core.compile_model(core.read_model(model.path(variant.path)), "CPU", config))
