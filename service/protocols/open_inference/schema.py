"""Define the bodies of the Open Inference Protocol for the OpenAPI document; the names are the protocol's."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from service.protocols.body import Body


class InputParameters(Body):
    """Format of the data of an input."""

    binary_data_size: int | None = Field(default=None, ge=0)
    """Bytes of binary data, which follows the JSON instead of `data`."""
    content_type: str | None = None
    """`base64` if the elements of binary data are base64; in JSON they always are."""


class RequestInput(Body):
    """The images of a request."""

    name: Literal["image_bytes", "pixels"]
    datatype: Literal["BYTES", "UINT8"]
    """BYTES for `image_bytes`, UINT8 for `pixels`."""
    shape: list[int]
    """`[n]` or `[n, 1]` for `image_bytes`, `[n, height, width, 3]` for `pixels`."""
    data: list[Any] | None = None
    """Images in base64, or whole numbers from 0 to 255; flat, or nested as `shape` says."""
    parameters: InputParameters | None = None


class OutputParameters(Body):
    """Format of the scores in the response."""

    binary_data: bool = False
    """As binary data after the JSON."""
    classification: int | None = Field(default=None, ge=1)
    """Number of best classes of each image, as `score:index:name`, instead of all scores."""


class RequestOutput(Body):
    """A requested output."""

    name: Literal["scores"]
    parameters: OutputParameters | None = None


class RequestParameters(Body):
    """Parameters of the whole request."""

    binary_data_output: bool = False
    """Default of `binary_data` of the output."""
    timeout: int | None = Field(default=None, ge=0)
    """Deadline in µs, if earlier than that of `X-Request-Timeout-Ms`; 0 is not set."""
    priority: int | None = Field(default=None, ge=0)
    """1 is interactive, larger numbers are bulk; 0 is not set."""


class InferenceRequest(Body):
    """An inference request; binary data of its input may follow it."""

    id: str | None = None
    """Returned with the response."""
    inputs: list[RequestInput] = Field(min_length=1, max_length=1)
    outputs: list[RequestOutput] | None = Field(default=None, max_length=1)
    parameters: RequestParameters | None = None


class DataParameters(Body):
    """Format of the data of an output."""

    binary_data_size: int
    """Bytes of binary data, which follows the JSON instead of `data`."""


class ResponseOutput(Body):
    """The scores of all classes, or the best classes."""

    name: str
    datatype: Literal["FP32", "BYTES"]
    shape: list[int]
    """`[n, classes]`."""
    data: list[float] | list[str] | None = None
    """Flat, image by image."""
    parameters: DataParameters | None = None


class InferenceResponse(Body):
    """An inference response; binary data may follow it."""

    model_name: str
    model_version: str
    id: str | None = None
    outputs: list[ResponseOutput]


class MetadataServerResponse(Body):
    """Metadata of the server."""

    name: str
    version: str
    extensions: list[str]
    """Triton's names of the supported extensions."""


class MetadataTensor(Body):
    """An input or output; -1 is the size of the batch."""

    name: str
    datatype: str
    shape: list[int]
    parameters: dict[str, str] | None = None


class MetadataModelResponse(Body):
    """Metadata of a version."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[MetadataTensor]
    """Alternatives: a request has exactly one of them."""
    outputs: list[MetadataTensor]
    parameters: dict[str, str | int | bool]
    """Version, labels, digest of the manifest, engine and precision, and the size of the input."""
    classes: list[str]
    """Their names, in the order of the scores."""


class RepositoryIndexRequest(Body):
    """Filter of the versions to list."""

    ready: bool = False
    """Ready versions only."""


class RepositoryModel(Body):
    """The state of a version."""

    name: str
    version: str | None = None
    state: Literal["READY", "LOADING", "UNLOADING", "UNAVAILABLE"]
    reason: str
