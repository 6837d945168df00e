"""The Open Inference Protocol's inference answer: scores, or the best classes, in JSON or as binary data behind it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from service.core.ranking import rank
from service.core.serving_state import ModelInfo
from service.protocols.open_inference.request import HEADER_LENGTH, InferRequest


def format_infer(
    request: InferRequest, model: ModelInfo, scores: NDArray[np.float32]
) -> tuple[bytes, str, dict[str, str]]:
    """Return the body that answers an inference request, its media type and the headers that it needs.

    Args:
        request: What was asked.
        model: The version that answered.
        scores: `float32 [n, classes]`.
    """
    output: dict[str, Any] = {"name": request.output.name}
    best = min(request.output.best, scores.shape[1])
    if best:
        texts = [text for row in scores for text in _best(row, model.classes, best)]
        output.update(datatype="BYTES", shape=[len(scores), best])
    else:
        output.update(datatype="FP32", shape=scores.shape)
    binary = b""
    if request.output.binary:
        binary = _pack(texts) if best else scores.astype("<f4", copy=False).tobytes()
        output["parameters"] = {"binary_data_size": len(binary)}
    else:
        output["data"] = texts if best else scores.ravel()
    answer: dict[str, Any] = {"model_name": model.name, "model_version": str(model.version), "outputs": [output]}
    if request.id is not None:
        answer["id"] = request.id
    document = orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)
    if not request.output.binary:
        return document, "application/json", {}
    return document + binary, "application/octet-stream", {HEADER_LENGTH: str(len(document))}


def _best(scores: NDArray[np.float32], classes: Sequence[str], best: int) -> list[str]:
    """Return the best classes of an image as Triton writes them."""
    return [f"{entry.score:.6f}:{entry.index}:{entry.name}" for entry in rank(scores, classes, best)]


def _pack(texts: Sequence[str]) -> bytes:
    """Return the binary data of a BYTES tensor: each element its length, 4 bytes little-endian, then its bytes."""
    elements = [text.encode() for text in texts]
    return b"".join(len(element).to_bytes(4, "little") + element for element in elements)
