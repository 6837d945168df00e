"""The bodies of the API, as they stand in its OpenAPI description."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


class ClassScore(_Body):
    """A class and its score."""

    name: str
    """Name of the class."""
    index: int
    """Its place in the model's scores."""
    score: float
    """What the model gave it; the scores of all classes add up to 1."""


class Classification(_Body):
    """The best classes of an image."""

    model: str
    version: int
    """The version of the model that answered."""
    predictions: list[ClassScore]
    """Best first."""


class B64Image(_Body):
    """An encoded image (JPEG, PNG, GIF, BMP or WebP) in base64."""

    b64: str


class PredictRow(_Body):
    """A predict request in row format."""

    instances: list[B64Image] = Field(min_length=1)
    signature_name: str = "serving_default"


class PredictColumnar(_Body):
    """A predict request in columnar format."""

    inputs: list[B64Image] = Field(min_length=1)
    signature_name: str = "serving_default"


class Predictions(_Body):
    """The answer to the row format: the scores of all classes, an image a row."""

    predictions: list[list[float]]


class Outputs(_Body):
    """The answer to the columnar format: the scores of all classes, an image a row."""

    outputs: list[list[float]]


class StatusDetail(_Body):
    """How a version fares."""

    error_code: str
    error_message: str


class ModelVersionStatus(_Body):
    """The state of one version."""

    version: str
    state: str
    """START, LOADING, AVAILABLE, UNLOADING or END."""
    status: StatusDetail


class ModelStatus(_Body):
    """The state of a model's versions."""

    model_version_status: list[ModelVersionStatus]


class Error(_Body):
    """Why a request was not answered."""

    error: str
