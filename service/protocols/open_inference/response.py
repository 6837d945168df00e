"""Format an inference response of the Open Inference Protocol: scores or best classes, in JSON or binary."""

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
    """Return the body of an inference response, its media type and its headers.

    Args:
        request: The parsed request.
        model: The version that ran it.
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
    response: dict[str, Any] = {"model_name": model.name, "model_version": str(model.version), "outputs": [output]}
    if request.id is not None:
        response["id"] = request.id
    document = orjson.dumps(response, option=orjson.OPT_SERIALIZE_NUMPY)
    if not request.output.binary:
        return document, "application/json", {}
    return document + binary, "application/octet-stream", {HEADER_LENGTH: str(len(document))}


def _best(scores: NDArray[np.float32], classes: Sequence[str], best: int) -> list[str]:
    """Return the best classes of an image in Triton's format."""
    return [f"{entry.score:.6f}:{entry.index}:{entry.name}" for entry in rank(scores, classes, best)]


def _pack(texts: Sequence[str]) -> bytes:
    """Return the binary data of a BYTES tensor: each element its length, 4 bytes little-endian, then its bytes."""
    elements = [text.encode() for text in texts]
    return b"".join(len(element).to_bytes(4, "little") + element for element in elements)
