"""Triton's client in tests: its inputs, and what it says of a refusal."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import numpy as np
import pytest
from tritonclient.http import InferenceServerClient, InferInput
from tritonclient.utils import InferenceServerException

INFER = "/v2/models/xception/infer"


def image_input(files: list[bytes], as_binary: bool = True, shape: list[int] | None = None) -> InferInput:
    shape = shape or [len(files)]
    data = [data if as_binary else b64encode(data) for data in files]
    tensor = InferInput("image_bytes", shape, "BYTES")
    tensor.set_data_from_numpy(np.array(data, np.object_).reshape(shape), binary_data=as_binary)
    return tensor


def pixel_input(pixels: Any, as_binary: bool = True) -> InferInput:
    tensor = InferInput("pixels", list(pixels.shape), "UINT8")
    tensor.set_data_from_numpy(pixels, binary_data=as_binary)
    return tensor


def refused(client: InferenceServerClient, *arguments: Any, **options: Any) -> tuple[str, str]:
    """Return status and message of what the client raises."""
    with pytest.raises(InferenceServerException) as raised:
        client.infer(*arguments, **options)
    return raised.value.status(), raised.value.message()
