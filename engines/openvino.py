"""OpenVINO on the CPU: the smallest and fastest of the engines there."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_store.trust.manifest import Variant
from model_store.trust.verify import VerifiedModel

# OpenVINO reports every import to Intel if its telemetry package is installed: it writes an identity into the home
# folder and opens a connection from a thread. A module that is None cannot be imported; OpenVINO works without it.
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]

import openvino  # noqa: E402 -- after its telemetry is disabled

MAX_STREAMS = 16
"""Default maximum of streams on machines with many cores: each keeps the intermediate results of a batch."""


class OpenVinoEngine:
    """A model compiled for latency (all threads for one batch) and for throughput (parallel streams)."""

    def __init__(self, latency: openvino.CompiledModel, throughput: openvino.CompiledModel | None) -> None:
        self.streams: int = throughput.get_property("NUM_STREAMS") if throughput else 1
        self._models = [model for model in (latency, throughput) if model]
        self._exclusive = latency.create_infer_request()
        self._streams = (
            [throughput.create_infer_request() for _ in range(self.streams)] if throughput else [self._exclusive]
        )

    def run(self, pixels: NDArray[np.uint8], stream: int | None = None) -> NDArray[np.float32]:
        """Return the scores, `float32 [n, classes]`, of `uint8 [n, height, width, 3]`."""
        request = self._exclusive if stream is None else self._streams[stream]
        # OpenVINO reads the pixels without a copy, but accepts only writable memory.
        request.set_input_tensor(openvino.Tensor(np.require(pixels, requirements=["C", "W"]), shared_memory=True))
        # In this thread: another thread of OpenVINO would add 0.1 ms to a batch.
        request.infer(share_outputs=True)
        return np.array(request.get_output_tensor(0).data, np.float32)  # A copy; the next batch overwrites the tensor.

    def shrink(self) -> None:
        """Free the buffers of all streams; the next batch in each allocates them again."""
        for model in self._models:
            model.release_memory()

    def close(self) -> None:
        """Drop models and requests; OpenVINO frees them."""
        del self._models, self._exclusive, self._streams


def load(
    model: VerifiedModel, variant: Variant, threads: int, streams: int = 0, *, parallel_compile: bool = True
) -> OpenVinoEngine:
    """Compile a variant for the CPU."""
    streams = streams or min(threads, MAX_STREAMS)
    return compile_ir(model.path(variant.path), variant.precision, threads, streams, parallel_compile=parallel_compile)


def compile_ir(
    path: Path, precision: str, threads: int, streams: int, *, parallel_compile: bool = True
) -> OpenVinoEngine:
    """Compile an IR for the CPU.

    Args:
        path: The `.xml`.
        precision: `fp32`, `bf16` or `int8`; the last is a property of the file.
        threads: CPU threads to use.
        streams: Batches that run in parallel; OpenVINO limits it to the number of threads and cores.
        parallel_compile: Whether both models are compiled in parallel.
    """
    streams = min(streams, threads)
    config: dict[str, Any] = {
        # The default on CPUs with AMX or AVX512-BF16 is bfloat16, which is another variant.
        "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
        "INFERENCE_NUM_THREADS": threads,
        # Pinned threads are no faster, and those of two containers would be pinned to the same cores.
        "ENABLE_CPU_PINNING": False,
    }
    core = openvino.Core()
    network = core.read_model(path)

    def compile_for(streams: int) -> openvino.CompiledModel:
        return core.compile_model(network, "CPU", {**config, "NUM_STREAMS": streams})

    if streams == 1:
        return OpenVinoEngine(compile_for(1), None)
    with ThreadPoolExecutor(2 if parallel_compile else 1) as pool:  # Compilation is mostly single-threaded.
        return OpenVinoEngine(*pool.map(compile_for, (1, streams)))
