"""A small model, and requests to it in the Open Inference Protocol."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import numpy as np
import pytest

from model_store.trust.manifest import InputContract, Signature, Tensor
from service.core.errors import BadRequestError
from service.core.serving_state import ModelInfo
from service.protocols.open_inference.request import InferRequest, parse_infer

A, B = b"\xff\xd8image one", b"\x89PNG image two"
STRINGS = Tensor(dtype="DT_STRING", shape=(-1,))
SCORES = Tensor(dtype="DT_FLOAT", shape=(-1, 3))
SIGNATURES = {
    "serving_default": Signature(inputs={"image_bytes": STRINGS}, outputs={"scores": SCORES}),
    "pixels": Signature(inputs={"pixels": Tensor(dtype="DT_UINT8", shape=(-1, 2, 1, 3))}, outputs={"scores": SCORES}),
    "classify_images": Signature(
        inputs={"inputs": STRINGS},
        outputs={"classes": Tensor(dtype="DT_STRING", shape=(-1, 3)), "scores": SCORES},
        method="classify",
    ),
    "two": Signature(inputs={"a": STRINGS, "b": STRINGS}, outputs={"scores": SCORES}),
}
PIXELS = np.arange(12, dtype=np.uint8).reshape(2, 2, 1, 3)


def served(version: int, *labels: str) -> ModelInfo:
    return ModelInfo(
        name="cats",
        version=version,
        digest=f"sha256:{version:064}",
        labels=labels,
        variant="openvino/fp32",
        input=InputContract(height=2, width=1),
        classes=("cat", "dog", "Übertier"),
        signatures=SIGNATURES,
    )


MODEL = served(3)


def text(data: bytes) -> str:
    return b64encode(data).decode()


def images(*data: Any, **changes: Any) -> dict[str, Any]:
    return {"name": "image_bytes", "datatype": "BYTES", "shape": [len(data)], "data": list(data), **changes}


def pixels(data: Any, **changes: Any) -> dict[str, Any]:
    return {"name": "pixels", "datatype": "UINT8", "shape": [2, 2, 1, 3], "data": data, **changes}


def binary(tensor: dict[str, Any], size: int, **parameters: Any) -> dict[str, Any]:
    kept = {key: value for key, value in tensor.items() if key != "data"}
    return {**kept, "parameters": {"binary_data_size": size, **parameters}}


def packed(*elements: bytes) -> bytes:
    return b"".join(len(element).to_bytes(4, "little") + element for element in elements)


def parse(tensor: Any, behind: bytes = b"", **document: Any) -> InferRequest:
    body = json.dumps({"inputs": [tensor], **document}).encode()
    return parse_infer(body + behind, len(body), MODEL, max_images=4)


def refusal(tensor: Any, behind: bytes = b"", **document: Any) -> str:
    with pytest.raises(BadRequestError) as refused:
        parse(tensor, behind, **document)
    return str(refused.value)
